package etcd_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease/etcd"
)

// TestLeadershipIsKeptWhileItsLoopRuns has a holder that works for longer than the ttl, and then does not.
func TestLeadershipIsKeptWhileItsLoopRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	b.registry(t)
	const timeout = 3 * time.Second
	leadership, err := b.Campaign(t.Context(), "a", timeout)
	if err != nil {
		t.Fatal(err)
	}
	var hangs atomic.Bool
	var asked atomic.Int64
	leadership.While(func() error {
		asked.Add(1)
		if hangs.Load() {
			return errors.New("the loop has not turned")
		}
		return nil
	})
	held := time.NewTimer(3 * timeout)
	defer held.Stop()
	select {
	case <-leadership.Lost():
		t.Fatal("lost, although its holder works")
	case <-held.C:
	}
	if asked.Load() < 3 {
		t.Errorf("asked %d times in three ttls", asked.Load())
	}
	hangs.Store(true)
	lost := time.NewTimer(time.Minute)
	defer lost.Stop()
	select {
	case <-leadership.Lost():
	case <-lost.C:
		t.Fatal("held for a minute by somebody who does not work")
	}
	next, err := b.Campaign(t.Context(), "b", timeout) // etcd has forgotten the first
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Resign(t.Context()); err != nil {
		t.Error(err)
	}
}
