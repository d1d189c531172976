package leasetest

import (
	"testing"
	"time"

	"lapse/lease"
)

func officeCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"an office reads and writes":                             officeWrites,
		"an office's write from an old revision conflicts":       officeConflict,
		"an office that was taken away writes nothing":           officeDeposed,
		"an office that resigned writes nothing":                 officeResigned,
		"a registry that changed since it was read fences off":   officeRegistryChanged,
		"a registry that was never read fences off":              officeRegistryUnread,
		"a heartbeat keeps a lease from revocation for silence":  officeHeartbeatSpares,
		"a ghost keeps nothing from revocation for silence":      officeGhostDoesNot,
		"an office deletes tombstones from their revision":       officeDeletes,
		"an office publishes its plan and takes it back":         officePublishes,
		"a plan that cannot be read is in nobody's way":          officeOverwritesPlan,
		"a campaign without a registry is refused":               campaignNoRegistry,
		"a campaign for a newer program's registry is refused":   campaignNewer,
		"a campaign for a registry of a lower schema is refused": campaignLower,
	}
}

func revokedFrom(tb testing.TB, l lease.Lease, cause lease.Cause) lease.Lease {
	tb.Helper()
	return must[lease.Lease](tb)(l.Revoke(now(), cause, by()))
}

func officeWrites(t *fixture) {
	ctx := t.Context()
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	office := t.office("janitor-1")
	wantSame(t, office.Name(), "janitor-1")
	stamp := must[lease.Sweep](t)(office.PutSweep(ctx, registry, lease.Sweep{Schema: lease.Schema, Sequence: 1}))
	stamp.Sequence++
	stamp = must[lease.Sweep](t)(office.PutSweep(ctx, registry, stamp))
	wantSame(t, must[lease.Sweep](t)(t.Store.Sweep(ctx)).Revision, stamp.Revision)
	revoked := must[lease.Lease](t)(office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseTerm), false))
	tried := must[lease.Lease](t)(office.PutLease(ctx, registry, must[lease.Lease](t)(revoked.Try(now()))))
	wantSame(t, must[lease.Lease](t)(office.Lease(ctx, someID)).Revision, tried.Revision)
	closed := must[lease.Launch](t)(launch.Close(now(), "over"))
	closed = must[lease.Launch](t)(office.PutLaunch(ctx, registry, closed))
	wantSame(t, must[lease.Launch](t)(office.Launch(ctx, someToken)).Revision, closed.Revision)
	must[lease.Lease](t)(office.PutLease(ctx, registry, activeLease("i-0new")))
	if snapshot := must[lease.Snapshot](t)(office.Snapshot(ctx)); len(snapshot.Leases) != 2 {
		t.Errorf("%d leases", len(snapshot.Leases))
	}
	select {
	case <-office.Lost():
		t.Error("an office in force is lost")
	default:
	}
}

func officeConflict(t *fixture) {
	ctx := t.Context()
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	office := t.office("a")
	must[lease.Lease](t)(t.Store.PutLease(ctx, must[lease.Lease](t)(l.Pardon(now(), by()))))
	must[lease.Launch](t)(t.Store.PutLaunch(ctx, must[lease.Launch](t)(launch.Done(now()))))
	_, err := office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseTerm), false)
	wantConflict(t, err, "lease", someID)
	_, err = office.PutLease(ctx, registry, l)
	wantConflict(t, err, "lease", someID)
	_, err = office.PutLaunch(ctx, registry, launch)
	wantConflict(t, err, "launch", someToken)
	wantConflict(t, office.DeleteLease(ctx, registry, l), "lease", someID)
	wantConflict(t, office.DeleteLaunch(ctx, registry, launch), "launch", someToken)
	must[lease.Sweep](t)(office.PutSweep(ctx, registry, lease.Sweep{Schema: lease.Schema}))
	_, err = office.PutSweep(ctx, registry, lease.Sweep{Schema: lease.Schema})
	wantError[*lease.ConflictError](t, err)
}

// wantFenced wants every write of the office refused, and nothing changed by it.
func (t *fixture) wantFenced(office Leader, registry lease.Registry, l lease.Lease, launch lease.Launch) {
	t.Helper()
	ctx := t.Context()
	_, put := office.PutLease(ctx, registry, l)
	_, create := office.PutLease(ctx, registry, activeLease("i-0new"))
	_, revoke := office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseTerm), false)
	_, silent := office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseSilence), true)
	_, putLaunch := office.PutLaunch(ctx, registry, launch)
	_, putSweep := office.PutSweep(ctx, registry, lease.Sweep{Schema: lease.Schema})
	for what, err := range map[string]error{
		"put plan": office.PutPlan(ctx, registry, lease.Plan{Schema: lease.Schema}),
		"put":      put, "create": create, "revoke": revoke, "silent": silent, "put launch": putLaunch, "put sweep": putSweep,
		"delete": office.DeleteLease(ctx, registry, l), "delete launch": office.DeleteLaunch(ctx, registry, launch),
	} {
		t.Log(what)
		wantSame(t, errorOf[*lease.DeposedError](t, err).Leader, office.Name())
	}
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, l.InstanceID)).Revision, l.Revision)
	wantSame(t, must[lease.Launch](t)(t.Store.Launch(ctx, launch.Token)).Revision, launch.Revision)
	_, err := t.Store.Sweep(ctx)
	wantNotFound(t, err, "sweep")
	_, err = t.Store.Plan(ctx)
	wantNotFound(t, err, "plan")
}

// wantLost waits until the office is lost.
func wantLost(tb testing.TB, office Leader) {
	tb.Helper()
	select {
	case <-office.Lost():
	case <-time.After(30 * time.Second):
		tb.Fatal("the office is not lost")
	}
}

func officeDeposed(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	old := t.office("old")
	t.Depose(t)
	t.wantFenced(old, registry, l, launch)
	young := t.office("young")
	t.wantFenced(old, registry, l, launch)
	must[lease.Lease](t)(young.PutLease(t.Context(), registry, l))
	wantLost(t, old)
}

func officeResigned(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	old := t.office("old")
	if err := old.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantLost(t, old)
	t.wantFenced(old, registry, l, launch)
	must[lease.Lease](t)(t.office("young").PutLease(t.Context(), registry, l))
}

func officeRegistryChanged(t *fixture) {
	registry, l, launch := t.registry(), t.lease(someID), t.launch(someToken)
	office := t.office("a")
	paused := must[lease.Registry](t)(t.Store.PutRegistry(t.Context(), registry.To(now(), lease.ModePaused, lease.By{})))
	t.wantFenced(office, registry, l, launch)
	must[lease.Lease](t)(office.PutLease(t.Context(), paused, l))
}

func officeRegistryUnread(t *fixture) {
	t.registry()
	l, launch, office := t.lease(someID), t.launch(someToken), t.office("a")
	t.wantFenced(office, lease.Registry{}, l, launch)
}

func officeHeartbeatSpares(t *fixture) {
	ctx := t.Context()
	registry, l, office := t.registry(), t.lease(someID), t.office("a")
	t.claim("boot")
	_, err := office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseSilence), true)
	wantConflict(t, err, "heartbeat", someID)
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)).State, lease.StateActive)
	t.Lapse(t, someID)
	revoked := must[lease.Lease](t)(office.Revoke(ctx, registry, revokedFrom(t, l, lease.CauseSilence), true))
	wantSame(t, must[lease.Lease](t)(t.Store.Lease(ctx, someID)).Revision, revoked.Revision)
}

func officeGhostDoesNot(t *fixture) {
	registry, l, office := t.registry(), t.lease(someID), t.office("a")
	t.Put(t, "heartbeat", someID, []byte(`{"schema":2,"instance_id":"`+someID+`","boot_id":"b","ttl":"1m0s"}`))
	must[lease.Lease](t)(office.Revoke(t.Context(), registry, revokedFrom(t, l, lease.CauseSilence), true))
}

func officeDeletes(t *fixture) {
	ctx := t.Context()
	registry, l, launch, office := t.registry(), t.lease(someID), t.launch(someToken), t.office("a")
	if err := office.DeleteLease(ctx, registry, l); err != nil {
		t.Error(err)
	}
	if err := office.DeleteLaunch(ctx, registry, launch); err != nil {
		t.Error(err)
	}
	_, err := t.Store.Lease(ctx, someID)
	wantNotFound(t, err, "lease")
	_, err = t.Store.Launch(ctx, someToken)
	wantNotFound(t, err, "launch")
	wantConflict(t, office.DeleteLease(ctx, registry, l), "lease", someID)
	wantNotFound(t, office.DeleteLease(ctx, registry, activeLease(someID)), "lease")
}

func officePublishes(t *fixture) {
	ctx := t.Context()
	registry := t.registry()
	office := t.office("a")
	wantSame(t, t.snapshot().Planned, false)
	for _, ends := range []int{2, 3} {
		p := lease.Plan{Schema: lease.Schema, Nonce: "n", RegistryRevision: registry.Revision, Counts: map[string]int{"end": ends}}
		if err := office.PutPlan(ctx, registry, p); err != nil {
			t.Fatal(err)
		}
		wantSame(t, must[lease.Plan](t)(t.Store.Plan(ctx)).Counts, p.Counts)
	}
	wantSame(t, t.snapshot().Planned, true)
	for range 2 { // the second time, there is none
		if err := office.DeletePlan(ctx, registry); err != nil {
			t.Fatal(err)
		}
	}
	wantSame(t, t.snapshot().Planned, false)
	_, err := t.Store.Plan(ctx)
	wantNotFound(t, err, "plan")
}

func officeOverwritesPlan(t *fixture) {
	ctx := t.Context()
	registry := t.registry()
	office := t.office("a")
	changes := t.Store.Watch(ctx, t.snapshot())
	t.Put(t, "plan", "", []byte(`{"schema":99}`))
	snapshot := t.snapshot()
	if len(snapshot.Bad) > 0 || !snapshot.Planned {
		t.Errorf("bad %v, planned %v", snapshot.Bad, snapshot.Planned)
	}
	_, err := t.Store.Plan(ctx)
	wantError[*lease.SchemaError](t, err)
	if err := office.PutPlan(ctx, registry, lease.Plan{Schema: lease.Schema}); err != nil {
		t.Fatal(err)
	}
	must[lease.Plan](t)(t.Store.Plan(ctx))
	put := t.lease(someID)
	if c := <-changes; c.Lease == nil || c.Lease.Revision != put.Revision {
		t.Errorf("a watch tells %+v, want nothing of the plan", c)
	}
}

func campaignNoRegistry(t *fixture) {
	_, err := t.Campaign(t.Context(), "a", 10*time.Second)
	wantNotFound(t, err, "registry")
}

func campaignNewer(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":2,"min_schema":9,"uuid":"u","mode":"armed"}`))
	_, err := t.Campaign(t.Context(), "a", 10*time.Second)
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 9)
}

func campaignLower(t *fixture) {
	t.Put(t, "registry", "", []byte(`{"schema":1,"min_schema":1,"uuid":"u","mode":"armed"}`))
	_, err := t.Campaign(t.Context(), "a", 10*time.Second)
	wantSame(t, errorOf[*lease.SchemaError](t, err).Schema, 1)
}
