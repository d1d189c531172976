package api_test

import (
	"testing"

	"lapse/lease/self/selftest"
)

func TestTheClientPassesTheSuite(t *testing.T) {
	t.Parallel()
	selftest.Run(t, func(t *testing.T) selftest.World {
		t.Helper()
		w := newWorld(t)
		i, token := w.launched("web")
		return selftest.World{Way: w.client(i, token), ID: i.ID, Store: w.store}
	})
}
