package leasetest

import (
	"context"
	"testing"
	"time"

	"lapse/lease"
)

func watchCases() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"a watch tells every change after the snapshot, in order": watchInOrder,
		"a watch tells a heartbeat, and that it lapsed":           watchHeartbeat,
		"a watch from a forgotten revision lists again":           watchCompacted,
		"a watch lists again where a record cannot be read":       watchUnreadable,
		"a watch ends with its context":                           watchEnds,
	}
}

// next is the next change of a watch.
func next(t *testing.T, changes <-chan lease.Change) lease.Change {
	t.Helper()
	select {
	case change, open := <-changes:
		if !open {
			t.Fatal("the watch ended")
		}
		return change
	case <-time.After(20 * time.Second):
		t.Fatal("the watch tells nothing")
	}
	return lease.Change{}
}

func watchInOrder(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.registry(t)
	f.lease(t, "i-0before")
	from := f.snapshot(t)
	written := f.lease(t, someID) // before the watch starts: told all the same
	changes := f.Store.Watch(ctx, from)
	launch := f.launch(t, someToken)
	paused := must[lease.Registry](t)(f.Store.PutRegistry(ctx, from.Registry.To(now(), lease.ModePaused)))
	if c := next(t, changes); c.Lease == nil || c.Lease.Revision != written.Revision || c.Lease.InstanceID != someID {
		t.Errorf("first %+v", c)
	}
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("second %+v", c)
	}
	if c := next(t, changes); c.Registry == nil || c.Registry.Revision != paused.Revision || c.Registry.Mode != lease.ModePaused {
		t.Errorf("third %+v", c)
	}
}

func watchHeartbeat(t *testing.T, f *fixture) {
	f.registry(t)
	changes := f.Store.Watch(t.Context(), f.snapshot(t))
	claim := must[lease.Claim](t)(f.Store.Claim(t.Context(), beatOf(someID, "boot")))
	c := next(t, changes)
	if c.Heartbeat == nil || !c.Heartbeat.Held || c.Heartbeat.Created != claim.Revision || c.Heartbeat.InstanceID != someID {
		t.Errorf("claimed: %+v", c)
	}
	f.Lapse(t, someID)
	wantSame(t, next(t, changes), lease.Change{Lapsed: someID})
}

func watchCompacted(t *testing.T, f *fixture) {
	f.registry(t)
	from := f.snapshot(t)
	f.lease(t, "i-0forgotten")
	written := f.lease(t, someID)
	f.Compact(t)
	changes := f.Store.Watch(t.Context(), from)
	c := next(t, changes)
	if c.Snapshot == nil || len(c.Snapshot.Leases) != 2 || c.Snapshot.Leases[0].Revision != written.Revision {
		t.Fatalf("after compaction: %+v", c)
	}
	launch := f.launch(t, someToken)
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("after the listing: %+v", c)
	}
}

func watchUnreadable(t *testing.T, f *fixture) {
	f.registry(t)
	f.lease(t, someID)
	changes := f.Store.Watch(t.Context(), f.snapshot(t))
	f.Put(t, "lease", someID, []byte(`{not JSON`))
	c := next(t, changes)
	if c.Snapshot == nil || len(c.Snapshot.Leases) != 0 || len(c.Snapshot.Bad) != 1 || c.Snapshot.Bad[0].ID != someID {
		t.Errorf("got %+v, want a listing with the record among the bad", c)
	}
	launch := f.launch(t, someToken)
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("after the listing: %+v", c)
	}
}

func watchEnds(t *testing.T, f *fixture) {
	f.registry(t)
	ctx, cancel := context.WithCancel(t.Context())
	changes := f.Store.Watch(ctx, f.snapshot(t))
	cancel()
	for range changes { //nolint:revive // until it closes
	}
}
