package leasetest

import (
	"context"
	"testing"
	"time"

	"lapse/lease"
)

func watchCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a watch tells every change after the snapshot, in order": watchInOrder,
		"a watch reports a heartbeat, and its loss":               watchHeartbeat,
		"a watch lists again where a record cannot be read":       watchUnreadable,
		"a watch tells a heartbeat that cannot be read":           watchBadHeartbeat,
		"a watch tells an enrolment":                              watchEnrolment,
		"a watch passes over an enrolment that cannot be read":    watchBadEnrolment,
		"a watch ends with its context":                           watchEnds,
	}
}

// next is the next change of a watch.
func next(tb testing.TB, changes <-chan lease.Change) lease.Change {
	tb.Helper()
	select {
	case change, open := <-changes:
		if !open {
			tb.Fatal("the watch ended")
		}
		return change
	case <-time.After(20 * time.Second):
		tb.Fatal("the watch tells nothing")
	}
	return lease.Change{}
}

func watchInOrder(t *fixture) {
	ctx := t.Context()
	t.registry()
	t.lease("i-0before")
	from := t.snapshot()
	written := t.lease(someID) // before the watch starts: told all the same
	changes := t.Store.Watch(ctx, from)
	launch := t.launch(someToken)
	paused := must[lease.Registry](t)(t.Store.PutRegistry(ctx, from.Registry.To(now(), lease.ModePaused, lease.By{})))
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

func watchHeartbeat(t *fixture) {
	t.registry()
	changes := t.Store.Watch(t.Context(), t.snapshot())
	claim := must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf(someID, "boot")))
	c := next(t, changes)
	if c.Heartbeat == nil || !c.Heartbeat.Held || c.Heartbeat.Created != claim.Revision || c.Heartbeat.InstanceID != someID {
		t.Errorf("claimed: %+v", c)
	}
	t.Lapse(t, someID)
	wantSame(t, next(t, changes), lease.Change{Lapsed: someID})
}

func watchCompacted(t *fixture) {
	t.registry()
	from := t.snapshot()
	t.lease("i-0forgotten")
	written := t.lease(someID)
	t.Compact(t)
	changes := t.Store.Watch(t.Context(), from)
	c := next(t, changes)
	if c.Snapshot == nil || len(c.Snapshot.Leases) != 2 || c.Snapshot.Leases[0].Revision != written.Revision {
		t.Fatalf("after compaction: %+v", c)
	}
	launch := t.launch(someToken)
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("after the listing: %+v", c)
	}
}

func watchUnreadable(t *fixture) {
	t.registry()
	t.lease(someID)
	changes := t.Store.Watch(t.Context(), t.snapshot())
	t.Put(t, "lease", someID, []byte(`{not JSON`))
	c := next(t, changes)
	if c.Snapshot == nil || len(c.Snapshot.Leases) != 0 || len(c.Snapshot.Bad) != 1 || c.Snapshot.Bad[0].ID != someID {
		t.Errorf("got %+v, want a listing with the record among the bad", c)
	}
	launch := t.launch(someToken)
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("after the listing: %+v", c)
	}
}

// Its instance can write it as often as it likes: it must spoil nothing else.
func watchBadHeartbeat(t *fixture) {
	t.registry()
	changes := t.Store.Watch(t.Context(), t.snapshot())
	t.Put(t, "heartbeat", someID, []byte(`{not JSON`))
	c := next(t, changes)
	if c.Bad == nil || c.Bad.Kind != "heartbeat" || c.Bad.ID != someID || c.Bad.Revision == 0 || c.Heartbeat != nil || c.Snapshot != nil {
		t.Fatalf("got %+v, want the bad heartbeat alone", c)
	}
	wantError[*lease.MalformedError](t, c.Bad.Err)
}

func watchEnrolment(t *fixture) {
	t.registry()
	changes := t.Store.Watch(t.Context(), t.snapshot())
	_, written, err := t.Store.UpdateEnrolment(t.Context(), someID, enrolled("a"))
	if err != nil {
		t.Fatal(err)
	}
	c := next(t, changes)
	if c.Enrolment == nil {
		t.Fatalf("got %+v, want the enrolment", c)
	}
	wantSame(t, *c.Enrolment, written)
}

// It is nobody's reason to list everything again.
func watchBadEnrolment(t *fixture) {
	t.registry()
	changes := t.Store.Watch(t.Context(), t.snapshot())
	t.Put(t, "enrolment", someID, []byte(`{not JSON`))
	launch := t.launch(someToken)
	if c := next(t, changes); c.Launch == nil || c.Launch.Revision != launch.Revision {
		t.Errorf("got %+v, want what came after it", c)
	}
	if bad := t.snapshot().Bad; len(bad) > 0 {
		t.Errorf("a listing has it: %+v", bad)
	}
}

func watchEnds(t *fixture) {
	t.registry()
	ctx, cancel := context.WithCancel(t.Context())
	changes := t.Store.Watch(ctx, t.snapshot())
	cancel()
	for range changes {
	}
}
