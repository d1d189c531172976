package leasetest

import (
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
)

func leadershipCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a leadership reads and writes":                                  leadershipWrites,
		"a leadership's write from an old revision conflicts":            leadershipConflict,
		"a leadership that was taken away writes nothing":                leadershipDeposed,
		"a leadership that resigned writes nothing":                      leadershipResigned,
		"a registry that changed since it was read fences off":           leadershipRegistryChanged,
		"a registry that was never read fences off":                      leadershipRegistryUnread,
		"a heartbeat keeps a lease from revocation for a lost heartbeat": leadershipHeartbeatSpares,
		"a ghost keeps nothing from revocation for a lost heartbeat":     leadershipGhostDoesNot,
		"a leadership deletes tombstones from their revision":            leadershipDeletes,
		"a leadership publishes its plan and takes it back":              leadershipPublishes,
		"a plan that cannot be read is in nobody's way":                  leadershipOverwritesPlan,
		"a campaign without a registry is refused":                       campaignNoRegistry,
		"a campaign for a newer program's registry is refused":           campaignNewer,
	}
}

func revokedFrom(tb testing.TB, l lease.Lease, cause lease.Cause) lease.Lease {
	tb.Helper()
	return must[lease.Lease](tb)(l.Revoke(now(), cause, by()))
}

func leadershipWrites(t *fixture) {
	ctx := t.Context()
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	leadership := t.leadership("janitor-1")
	wantSame(t, leadership.Name(), "janitor-1")
	checkpoint := must[lease.Checkpoint](t)(leadership.PutCheckpoint(ctx, registry, lease.Checkpoint{Schema: lease.Schema, Sequence: 1}))
	checkpoint.Sequence++
	checkpoint = must[lease.Checkpoint](t)(leadership.PutCheckpoint(ctx, registry, checkpoint))
	wantSame(t, must[lease.Checkpoint](t)(t.Store.Checkpoint(ctx)).Revision, checkpoint.Revision)
	revoked := must[lease.Lease](t)(leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseExpired), false))
	tried := must[lease.Lease](t)(leadership.PutLease(ctx, registry, must[lease.Lease](t)(revoked.Try(now()))))
	wantSame(t, must[lease.Lease](t)(leadership.Lease(ctx, someID)).Revision, tried.Revision)
	closed := must[lease.Launch](t)(launch.Close(now(), "over"))
	closed = must[lease.Launch](t)(leadership.PutLaunch(ctx, registry, closed))
	wantSame(t, must[lease.Launch](t)(leadership.Launch(ctx, someToken)).Revision, closed.Revision)
	must[lease.Lease](t)(leadership.PutLease(ctx, registry, activeLease("i-0new")))
	if snapshot := must[lease.Snapshot](t)(leadership.Snapshot(ctx)); len(snapshot.Leases) != 2 {
		t.Errorf("%d leases", len(snapshot.Leases))
	}
	select {
	case <-leadership.Lost():
		t.Error("a leadership in force is lost")
	default:
	}
}

func leadershipConflict(t *fixture) {
	ctx := t.Context()
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	leadership := t.leadership("a")
	must[lease.Lease](t)(t.Store.PutLease(ctx, must[lease.Lease](t)(l.Unmark(now(), by()))))
	must[lease.Launch](t)(t.Store.PutLaunch(ctx, must[lease.Launch](t)(launch.Done(now()))))
	_, err := leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseExpired), false)
	wantConflict(t, err, "lease", someID)
	_, err = leadership.PutLease(ctx, registry, l)
	wantConflict(t, err, "lease", someID)
	_, err = leadership.PutLaunch(ctx, registry, launch)
	wantConflict(t, err, "launch", someToken)
	wantConflict(t, leadership.DeleteLease(ctx, registry, l), "lease", someID)
	wantConflict(t, leadership.DeleteLaunch(ctx, registry, launch), "launch", someToken)
	must[lease.Checkpoint](t)(leadership.PutCheckpoint(ctx, registry, lease.Checkpoint{Schema: lease.Schema}))
	_, err = leadership.PutCheckpoint(ctx, registry, lease.Checkpoint{Schema: lease.Schema})
	wantError[*lease.ConflictError](t, err)
}

// wantFenced wants every write of the leadership refused, and nothing changed by it.
func (t *fixture) wantFenced(leadership *etcd.Leadership, registry lease.Registry, l lease.Lease, launch lease.Launch) {
	t.Helper()
	ctx := t.Context()
	_, put := leadership.PutLease(ctx, registry, l)
	_, create := leadership.PutLease(ctx, registry, activeLease("i-0new"))
	_, revoke := leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseExpired), false)
	_, lost := leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseHeartbeatLost), true)
	_, putLaunch := leadership.PutLaunch(ctx, registry, launch)
	_, putCheckpoint := leadership.PutCheckpoint(ctx, registry, lease.Checkpoint{Schema: lease.Schema})
	for what, err := range map[string]error{
		"put plan": leadership.PutPlan(ctx, registry, lease.Plan{Schema: lease.Schema}),
		"put":      put, "create": create, "revoke": revoke, "silent": lost, "put launch": putLaunch, "put sweep": putCheckpoint,
		"delete": leadership.DeleteLease(ctx, registry, l), "delete launch": leadership.DeleteLaunch(ctx, registry, launch),
	} {
		t.Log(what)
		wantSame(t, errorOf[*lease.DeposedError](t, err).Leader, leadership.Name())
	}
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, l.InstanceID)).Revision, l.Revision)
	wantSame(t, must[lease.Launch](t)(t.Store.Launch(ctx, launch.Token)).Revision, launch.Revision)
	_, err := t.Store.Checkpoint(ctx)
	wantNotFound(t, err, "checkpoint")
	_, err = t.Store.Plan(ctx)
	wantNotFound(t, err, "plan")
}

// wantLost waits until the leadership is lost.
func wantLost(tb testing.TB, leadership *etcd.Leadership) {
	tb.Helper()
	select {
	case <-leadership.Lost():
	case <-time.After(30 * time.Second):
		tb.Fatal("the leadership is not lost")
	}
}

func leadershipDeposed(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	old := t.leadership("old")
	t.Depose(t)
	t.wantFenced(old, registry, l, launch)
	young := t.leadership("young")
	t.wantFenced(old, registry, l, launch)
	must[lease.Lease](t)(young.PutLease(t.Context(), registry, l))
	wantLost(t, old)
}

func leadershipResigned(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	old := t.leadership("old")
	if err := old.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantLost(t, old)
	t.wantFenced(old, registry, l, launch)
	must[lease.Lease](t)(t.leadership("young").PutLease(t.Context(), registry, l))
}

func leadershipRegistryChanged(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	leadership := t.leadership("a")
	paused := must[lease.Registry](t)(t.Store.PutRegistry(t.Context(), registry.To(now(), lease.ModePaused, lease.By{})))
	t.wantFenced(leadership, registry, l, launch)
	must[lease.Lease](t)(leadership.PutLease(t.Context(), paused, l))
}

func leadershipRegistryUnread(t *fixture) {
	t.registry()
	l, launch, leadership := t.lease(someID), t.launch(someToken), t.leadership("a")
	t.wantFenced(leadership, lease.Registry{}, l, launch)
}

func leadershipHeartbeatSpares(t *fixture) {
	ctx := t.Context()
	registry, l, leadership := t.registry(), t.lease(someID), t.leadership("a")
	t.claim("boot")
	_, err := leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseHeartbeatLost), true)
	wantConflict(t, err, "heartbeat", someID)
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)).State, lease.StateActive)
	t.Lapse(t, someID)
	revoked := must[lease.Lease](t)(leadership.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseHeartbeatLost), true))
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)).Revision, revoked.Revision)
}

func leadershipGhostDoesNot(t *fixture) {
	registry, l, leadership := t.registry(), t.lease(someID), t.leadership("a")
	t.Put(t, "heartbeat", someID, []byte(`{"schema":3,"instance_id":"`+someID+`","boot_id":"b","heartbeat_timeout":"1m0s"}`))
	must[lease.Lease](t)(leadership.Revoke(t.Context(), registry, revokedFrom(t, l, lease.CauseHeartbeatLost), true))
}

func leadershipDeletes(t *fixture) {
	ctx := t.Context()
	registry, l, launch, leadership := t.registry(), t.lease(someID), t.launch(someToken), t.leadership("a")
	if err := leadership.DeleteLease(ctx, registry, l); err != nil {
		t.Error(err)
	}
	if err := leadership.DeleteLaunch(ctx, registry, launch); err != nil {
		t.Error(err)
	}
	_, err := t.Store.Lease(ctx, someID)
	wantNotFound(t, err, "lease")
	_, err = t.Store.Launch(ctx, someToken)
	wantNotFound(t, err, "launch")
	wantConflict(t, leadership.DeleteLease(ctx, registry, l), "lease", someID)
	wantNotFound(t, leadership.DeleteLease(ctx, registry, activeLease(someID)), "lease")
}

func leadershipPublishes(t *fixture) {
	ctx := t.Context()
	registry := t.registry()
	leadership := t.leadership("a")
	wantSame(t, t.snapshot().Planned, false)
	for _, ends := range []int{2, 3} {
		p := lease.Plan{Schema: lease.Schema, Nonce: "n", RegistryRevision: registry.Revision, Counts: map[string]int{"end": ends}}
		if err := leadership.PutPlan(ctx, registry, p); err != nil {
			t.Fatal(err)
		}
		wantSame(t, must[lease.Plan](t)(t.Store.Plan(ctx)).Counts, p.Counts)
	}
	wantSame(t, t.snapshot().Planned, true)
	for range 2 { // the second time, there is none
		if err := leadership.DeletePlan(ctx, registry); err != nil {
			t.Fatal(err)
		}
	}
	wantSame(t, t.snapshot().Planned, false)
	_, err := t.Store.Plan(ctx)
	wantNotFound(t, err, "plan")
}

func leadershipOverwritesPlan(t *fixture) {
	ctx := t.Context()
	registry := t.registry()
	leadership := t.leadership("a")
	changes := t.Store.Watch(ctx, t.snapshot())
	t.Put(t, "plan", "", []byte(`{"schema":99}`))
	snapshot := t.snapshot()
	if len(snapshot.Bad) > 0 || !snapshot.Planned {
		t.Errorf("bad %v, planned %v", snapshot.Bad, snapshot.Planned)
	}
	_, err := t.Store.Plan(ctx)
	wantError[*lease.SchemaError](t, err)
	if err := leadership.PutPlan(ctx, registry, lease.Plan{Schema: lease.Schema}); err != nil {
		t.Fatal(err)
	}
	must[lease.Plan](t)(t.Store.Plan(ctx))
	put := t.lease(someID)
	if c := <-changes; c.Lease == nil || c.Lease.Revision != put.Revision {
		t.Errorf("a watch tells %+v, want nothing of the plan", c)
	}
}

func campaignNoRegistry(t *fixture) {
	_, err := t.campaign("a")
	wantNotFound(t, err, "registry")
}

func campaignNewer(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":3,"min_schema":9,"uuid":"u","mode":"armed"}`))
	_, err := t.campaign("a")
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 9)
}
