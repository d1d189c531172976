package self_test

import (
	"log/slog"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
	"lapse/lease/self"
	"lapse/lease/self/selftest"
)

func TestTheDirectWayPassesTheSuite(t *testing.T) {
	t.Parallel()
	selftest.Run(t, func(t *testing.T) selftest.World {
		t.Helper()
		store := leasetest.NewStore()
		t.Cleanup(store.Close)
		if _, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeArmed)); err != nil {
			t.Fatal(err)
		}
		return selftest.World{Way: self.New(store, time.Now, slog.New(slog.DiscardHandler)), ID: "i-0123456789abcdef0", Store: store}
	})
}
