package janitor

import (
	"context"
	"errors"
	"slices"
	"time"

	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// reactions are what is done between sweeps. The rest waits for the next look at EC2: an old listing is no second look, and
// confirms nothing.
func reactions() []plan.Action {
	return []plan.Action{plan.ActMark, plan.ActUnmark, plan.ActTerminate, plan.ActStuck, plan.ActKeep}
}

const (
	settleMin = 100 * time.Millisecond // the least time for which the changes that a watch brings are collected
	restShare = 3                      // decisions rest this many times as long as they take
	failedFor = time.Minute            // for which what has failed is left alone, however long the next sweep is away
)

// swept takes in what a sweep decided, or says aloud that it could not. A failed sweep stops neither the schedule nor
// the reactions.
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
		t.Log.Error("sweep failed; nothing was ended by it", "error", err)
		t.wakeFor(t.react(ctx))
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
		t.changes = nil // the next sweep watches anew
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

// soon lets the next reaction come as soon as the changes that come together have settled, and the last one is so long
// ago that reactions to changes take a quarter of the time at most. Dates that are known beforehand are met all the same.
func (t *leader) soon() {
	soon := time.Now().Add(settleMin)
	if rested := t.reacted.Add(restShare * t.took); rested.After(soon) {
		soon = rested
	}
	if soon.Before(t.due) {
		t.due = soon
		t.timer.Reset(time.Until(soon))
	}
}

// wakeFor lets the next reaction come when time alone changes the plan.
func (t *leader) wakeFor(planned plan.Plan) {
	t.due = time.Now().Add(t.untilNext(planned))
	for _, at := range []time.Time{t.again, t.published.due} {
		if time.Now().Before(at) && at.Before(t.due) {
			t.due = at
		}
	}
	t.timer.Reset(time.Until(t.due))
}

// watch follows the registry from the revision that was observed.
func (t *leader) watch(ctx context.Context) (<-chan lease.Change, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if t.joined.Revision == 0 {
		return nil, cancel // nothing was observed yet
	}
	return t.leadership.Watch(ctx, lease.Snapshot{Revision: t.joined.Revision}), cancel
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
	t.act(ctx, t.joined.Registry, false, now, func(enforce.Report) {})
	t.tag(ctx, planned.Tags)
	t.publish(ctx, t.joined.Registry, planned, false)
	if t.listings.Drift(t.Now()).Abs() > t.Policy.MaxSkew { // our clock was set, or the machine slept: EC2 tells which
		t.dueAgain()
	}
	return planned
}

// askedBefore reports whether a reaction has tried to end this very lease since the last sweep. What a fresh look spared
// then is not looked at again until there is a new listing; what failed is tried again after a minute.
func (t *leader) askedBefore(v plan.Verdict) bool {
	asked := t.asked[v.InstanceID]
	return v.Action == plan.ActTerminate && asked.revision == v.Lease.Revision && (asked.again.IsZero() || time.Now().Before(asked.again))
}

// ask notes what a reaction tries to end, once its turn has come: while it waits, a newer plan may take its location.
func (t *leader) ask(verdicts []plan.Verdict) {
	for _, v := range verdicts {
		if v.Action == plan.ActTerminate {
			t.asked[v.InstanceID] = asked{revision: v.Lease.Revision}
		}
	}
}

// askAgain has what was to be ended tried again in a minute, since some of it failed.
func (t *leader) askAgain(verdicts []plan.Verdict) {
	t.reactAgain()
	for _, v := range verdicts {
		if v.Action == plan.ActTerminate {
			t.asked[v.InstanceID] = asked{v.Lease.Revision, t.again}
		}
	}
}

// reactAgain lets a reaction come in a minute, since something failed.
func (t *leader) reactAgain() {
	if t.again = time.Now().Add(failedFor); t.again.Before(t.due) {
		t.due = t.again
		t.timer.Reset(failedFor)
	}
}

// untilNext is the pause until time alone changes the plan; an hour if it will not.
func (t *leader) untilNext(planned plan.Plan) time.Duration {
	if planned.Next.IsZero() {
		return time.Hour
	}
	return max(settleMin, min(time.Hour, planned.Next.Sub(t.Now())))
}

// relist takes in what the watch listed anew. If it is older than what was observed, or its checkpoint than our own, it was read
// before that was written, or the registry was set back: only what is read now tells which.
func (t *leader) relist(ctx context.Context, listed lease.Snapshot) {
	least := t.newest
	if listed.Revision >= least && listed.Checkpoint.Sequence >= t.joined.Checkpoint.Sequence {
		t.see(listed, least)
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
				t.Log.Warn("cannot list; the next sweep watches anew", "error", err)
				t.dueAgain()
			case t.reads == reads: // else a sweep has read since, and watches
				t.see(fresh, least)
				t.changes, t.unwatch = t.watch(ctx)
			}
		}
	})
}

// apply takes one change into the records observed.
func (t *leader) apply(change lease.Change) {
	j := t.joined
	switch {
	case change.Registry != nil:
		t.historian.Registry(j.Registry, *change.Registry)
		j.Registry = *change.Registry
		t.newest = max(t.newest, j.Registry.Revision)
	case change.Lease != nil:
		t.historian.Lease(t.leaseOf(change.Lease.InstanceID), *change.Lease)
		j.PutLease(*change.Lease)
		t.newest = max(t.newest, change.Lease.Revision)
	case change.Launch != nil:
		t.historian.Launch(t.Now(), t.launchOf(change.Launch.Token), *change.Launch)
		j.PutLaunch(*change.Launch)
		t.newest = max(t.newest, change.Launch.Revision)
	case change.Heartbeat != nil:
		j.PutHeartbeat(*change.Heartbeat)
		t.renewals.Appear(time.Now(), *change.Heartbeat)
	case change.Lapsed != "":
		j.DropHeartbeat(change.Lapsed)
	case change.Bad != nil:
		j.PutBad(*change.Bad)
	}
}

// leaseOf is the lease as last observed, or zero.
func (t *leader) leaseOf(id string) lease.Lease {
	if r := t.joined.Row(id); r != nil {
		return *r.Lease
	}
	return lease.Lease{}
}

// launchOf is the launch as last observed, or zero.
func (t *leader) launchOf(token string) lease.Launch {
	if l := t.joined.Launch(token); l != nil {
		return *l
	}
	return lease.Launch{}
}

// see replaces the records that were observed. least is the revision of etcd that had been observed before they were asked
// for.
func (t *leader) see(s lease.Snapshot, least int64) {
	before := t.joined
	if left := t.left.joined; before.Revision == 0 && left != nil && left.Checkpoint.Nonce != "" && left.Checkpoint.Nonce == s.Checkpoint.Nonce {
		before, least = left, t.left.newest // nobody has led since we did
	}
	older := observe.Older(before, least, s)
	setBack := older != "" || s.Checkpoint.Sequence < before.Checkpoint.Sequence
	t.historian.Compare(t.Now(), t.joined.Registry, s, t.leaseOf, t.launchOf)
	t.historian.Begin(s.Revision, setBack, t.idle())
	t.watermark.See(t.Now(), s, true)
	if older != "" {
		t.watermark.SetBack(t.Now(), older)
	}
	if setBack {
		t.newest = 0 // another history begins, and others shall read of it
		t.dueNow()
	}
	t.newest = max(t.newest, s.Revision)
	t.reads++
	t.joined = plan.Join(s, t.listings.Locations, t.listings.Index, t.tags.Written())
	t.Observe.Checkpoint(s.Checkpoint)
}
