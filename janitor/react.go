package janitor

import (
	"context"
	"errors"
	"slices"
	"time"

	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// reactions are the actions that are carried out between sweeps. All others wait for the next listing of EC2: an old listing
// is not a second sighting, and confirms nothing.
func reactions() []plan.Action {
	return []plan.Action{plan.ActMark, plan.ActUnmark, plan.ActTerminate, plan.ActStuck, plan.ActKeep}
}

// swept takes in what a sweep decided, or logs why it failed. A failed sweep stops neither the schedule nor the reactions.
func (t *leader) swept(ctx context.Context, err error) {
	if _, deposed := errors.AsType[*lease.DeposedError](err); deposed {
		t.deposed++
	} else if err == nil {
		t.deposed = 0
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		t.Log.Error("sweep failed; it terminated nothing", "error", err)
		t.wakeFor(t.react(ctx).Next)
	default:
		t.asked = map[string]asked{}
		if t.missed { // it was due while the sweep was being written, after it had decided
			t.missed = false
			t.soon()
		}
		t.status("leads as " + t.leadership.Name())
	}
}

// follow takes in what the watch tells, and lets changes that come together lead to one decision.
func (t *leader) follow(ctx context.Context, change lease.Change, open bool) {
	if !open {
		t.changes = nil // the next sweep starts a new watch
		t.dueAgain()
		return
	}
	if change.Snapshot != nil {
		t.relist(ctx, *change.Snapshot)
	} else {
		t.apply(change)
	}
	if change.Registry != nil { // somebody armed or paused it
		t.dueNow()
	}
	t.soon()
}

// react decides over the last listing and the records as the watch has kept them.
func (t *leader) react(ctx context.Context) plan.Plan {
	if t.joined.Revision == 0 || t.checkpointed.IsZero() || !t.kept || t.stale() {
		t.missed = true
		return plan.Plan{} // too little is known, or for too long nothing was
	}
	begun := time.Now()
	planned := t.decide(time.Time{})
	now := slices.DeleteFunc(planned.With(reactions()...), t.askedBefore)
	t.reacted, t.took = time.Now(), time.Since(begun)
	t.enforce(ctx, t.joined.Registry, false, planned, now, func(enforce.Report) {})
	if t.listings.Drift(t.Now()).Abs() > t.Policy.MaxSkew { // our clock was set, or the machine slept: EC2 tells which
		t.dueAgain()
	}
	return planned
}

// relist takes in a new listing by the watch. If the listing is older than what was observed, or its checkpoint older than our
// own, then either it was read before that was written, or the registry was set back. Only a new read tells which.
func (t *leader) relist(ctx context.Context, listed lease.Snapshot) {
	least := t.newest
	if listed.Revision >= least && listed.Checkpoint.Sequence >= t.joined.Checkpoint.Sequence {
		t.takeIn(listed, t.joining()(listed), least)
		return
	}
	t.unwatch()
	t.changes = nil
	reads := t.reads
	t.do(func() func() {
		reading, cancel := context.WithTimeout(ctx, observeMax)
		defer cancel()
		fresh, err := t.leadership.Snapshot(reading)
		return func() {
			switch {
			case err != nil:
				t.Log.Warn("cannot list the registry; the next sweep starts a new watch", "error", err)
				t.dueAgain()
			case t.reads == reads: // else a sweep has read since, and watches
				t.takeIn(fresh, t.joining()(fresh), least)
				t.changes, t.unwatch = t.watch(ctx)
			}
		}
	})
}
