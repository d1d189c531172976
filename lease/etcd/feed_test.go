package etcd_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/etcd"
)

// TestAnOfficeIsHeldForAsLongAsItsHolderWorks has a holder that works for longer than the ttl, and then does not.
func TestAnOfficeIsHeldForAsLongAsItsHolderWorks(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	b.registry(t)
	const ttl = 3 * time.Second
	office, err := b.Campaign(t.Context(), "a", ttl)
	if err != nil {
		t.Fatal(err)
	}
	var hangs atomic.Bool
	var asked atomic.Int64
	office.While(func() error {
		asked.Add(1)
		if hangs.Load() {
			return errors.New("the loop has not turned")
		}
		return nil
	})
	held := time.NewTimer(3 * ttl)
	defer held.Stop()
	select {
	case <-office.Lost():
		t.Fatal("lost, though its holder works")
	case <-held.C:
	}
	if asked.Load() < 3 {
		t.Errorf("asked %d times in three ttls", asked.Load())
	}
	hangs.Store(true)
	lost := time.NewTimer(time.Minute)
	defer lost.Stop()
	select {
	case <-office.Lost():
	case <-lost.C:
		t.Fatal("held for a minute by somebody who does not work")
	}
	next, err := b.Campaign(t.Context(), "b", ttl) // etcd has forgotten the first
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Resign(t.Context()); err != nil {
		t.Error(err)
	}
}
