package janitor

import (
	"context"
	"errors"
	"slices"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// reactions are what is done between sweeps. The rest waits for the next look at EC2: an old listing is no second look, and
// confirms nothing.
func reactions() []plan.Action {
	return []plan.Action{plan.ActMark, plan.ActUnmark, plan.ActEnd, plan.ActStuck, plan.ActKept}
}

const (
	settleMin = 100 * time.Millisecond // the least time for which the changes that a watch brings are collected
	restShare = 3                      // decisions rest this many times as long as they take
	failedFor = time.Minute            // for which what has failed is left alone, however long the next sweep is away
)

// swept takes in what a sweep decided, or says aloud that it could not. A failed sweep stops neither the schedule nor
// the reactions.
func (t *term) swept(ctx context.Context, err error) {
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

// hear takes in what the watch tells, and lets changes that come together lead to one decision.
func (t *term) hear(ctx context.Context, change lease.Change, open bool) {
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
func (t *term) soon() {
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
func (t *term) wakeFor(planned plan.Plan) {
	t.due = time.Now().Add(t.untilNext(planned))
	for _, at := range []time.Time{t.again, t.published.due} {
		if time.Now().Before(at) && at.Before(t.due) {
			t.due = at
		}
	}
	t.timer.Reset(time.Until(t.due))
}

// watch follows the registry from the revision that was observed.
func (t *term) watch(ctx context.Context) (<-chan lease.Change, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if t.seen.snapshot.Revision == 0 {
		return nil, cancel // nothing was observed yet
	}
	return t.leadership.Watch(ctx, t.seen.snapshot), cancel
}

// react decides over the last listing and the records as the watch has kept them.
func (t *term) react(ctx context.Context) plan.Plan {
	if t.seen.snapshot.Revision == 0 || t.checkpointed.IsZero() || !t.kept || t.stale() {
		t.missed = true
		return plan.Plan{} // too little is known, or for too long nothing was
	}
	begun := time.Now()
	planned := t.decide(time.Time{})
	now := slices.DeleteFunc(planned.With(reactions()...), t.askedBefore)
	t.reacted, t.took = time.Now(), time.Since(begun)
	t.act(ctx, t.seen.snapshot.Registry, false, now, func(Report) {})
	t.tag(ctx, planned.Tags)
	t.publish(ctx, t.seen.snapshot.Registry, planned, false)
	if t.seen.drift(t.Now()).Abs() > t.Policy.MaxSkew { // our clock was set, or the machine slept: EC2 tells which
		t.dueAgain()
	}
	return planned
}

// askedBefore reports whether a reaction has tried to end this very lease since the last sweep. What a fresh look spared
// then is not looked at again until there is a new listing; what failed is tried again after a minute.
func (t *term) askedBefore(v plan.Verdict) bool {
	asked := t.asked[v.InstanceID]
	return v.Action == plan.ActEnd && asked.revision == v.Lease.Revision && (asked.again.IsZero() || time.Now().Before(asked.again))
}

// ask notes what a reaction tries to end, once its turn has come: while it waits, a newer plan may take its location.
func (t *term) ask(verdicts []plan.Verdict) {
	for _, v := range verdicts {
		if v.Action == plan.ActEnd {
			t.asked[v.InstanceID] = asked{revision: v.Lease.Revision}
		}
	}
}

// askAgain has what was to be ended tried again in a minute, since some of it failed.
func (t *term) askAgain(verdicts []plan.Verdict) {
	t.reactAgain()
	for _, v := range verdicts {
		if v.Action == plan.ActEnd {
			t.asked[v.InstanceID] = asked{v.Lease.Revision, t.again}
		}
	}
}

// reactAgain lets a reaction come in a minute, since something failed.
func (t *term) reactAgain() {
	if t.again = time.Now().Add(failedFor); t.again.Before(t.due) {
		t.due = t.again
		t.timer.Reset(failedFor)
	}
}

// untilNext is the pause until time alone changes the plan; an hour if it will not.
func (t *term) untilNext(planned plan.Plan) time.Duration {
	if planned.Next.IsZero() {
		return time.Hour
	}
	return max(settleMin, min(time.Hour, planned.Next.Sub(t.Now())))
}

// relist takes in what the watch listed anew. If it is older than what was observed, or its checkpoint than our own, it was read
// before that was written, or the registry was set back: only what is read now tells which.
func (t *term) relist(ctx context.Context, listed lease.Snapshot) {
	least := t.heard
	if listed.Revision >= least && listed.Checkpoint.Sequence >= t.seen.snapshot.Checkpoint.Sequence {
		t.see(observation{sight: t.seen.sight, snapshot: listed, least: least})
		return
	}
	t.unwatch()
	t.changes = nil
	reads := t.reads
	t.do(func() func() {
		reading, cancel := context.WithTimeout(ctx, lookMax)
		defer cancel()
		fresh, err := t.leadership.Snapshot(reading)
		return func() {
			switch {
			case err != nil:
				t.Log.Warn("cannot list; the next sweep watches anew", "error", err)
				t.dueAgain()
			case t.reads == reads: // else a sweep has read since, and watches
				t.see(observation{sight: t.seen.sight, snapshot: fresh, least: least})
				t.changes, t.unwatch = t.watch(ctx)
			}
		}
	})
}

// apply takes one change into the records observed.
func (t *term) apply(change lease.Change) {
	s := &t.seen.snapshot
	switch {
	case change.Registry != nil:
		t.trail.registry(s.Registry, *change.Registry)
		s.Registry = *change.Registry
		t.heard = max(t.heard, s.Registry.Revision)
	case change.Lease != nil:
		t.trail.lease(t.leaseOf(change.Lease.InstanceID), *change.Lease)
		s.Leases = put(s.Leases, t.leaseAt, change.Lease.InstanceID, *change.Lease)
		t.heard = max(t.heard, change.Lease.Revision)
	case change.Launch != nil:
		t.trail.launch(t.Now(), t.launchOf(change.Launch.Token), *change.Launch)
		s.Launches = put(s.Launches, t.launchAt, change.Launch.Token, *change.Launch)
		t.heard = max(t.heard, change.Launch.Revision)
	case change.Heartbeat != nil:
		s.Bad = withoutBad(s.Bad, plan.BadHeartbeat, change.Heartbeat.InstanceID)
		s.Heartbeats[change.Heartbeat.InstanceID] = *change.Heartbeat
		t.mem.hear(time.Now(), *change.Heartbeat)
	case change.Lapsed != "":
		s.Bad = withoutBad(s.Bad, plan.BadHeartbeat, change.Lapsed)
		delete(s.Heartbeats, change.Lapsed)
	case change.Bad != nil: // it spoils its own lease, and what it said before counts no more
		delete(s.Heartbeats, change.Bad.ID)
		s.Bad = append(withoutBad(s.Bad, change.Bad.Kind, change.Bad.ID), *change.Bad)
	}
}

// withoutBad leaves out what was wrong with a record.
func withoutBad(bad []lease.BadRecord, kind, id string) []lease.BadRecord {
	return slices.DeleteFunc(bad, func(b lease.BadRecord) bool { return b.Kind == kind && b.ID == id })
}

// leaseOf is the lease as last observed, or zero.
func (t *term) leaseOf(id string) (l lease.Lease) {
	if n, there := t.leaseAt[id]; there {
		l = t.seen.snapshot.Leases[n]
	}
	return l
}

// launchOf is the launch as last observed, or zero.
func (t *term) launchOf(token string) (l lease.Launch) {
	if n, there := t.launchAt[token]; there {
		l = t.seen.snapshot.Launches[n]
	}
	return l
}

// see replaces what was observed.
func (t *term) see(seen observation) {
	before := t.seen.snapshot
	if before.Revision == 0 && t.left.snapshot.Checkpoint.Nonce != "" && t.left.snapshot.Checkpoint.Nonce == seen.snapshot.Checkpoint.Nonce {
		before, seen.least = t.left.snapshot, t.left.heard // nobody has led since we did
	}
	older := older(before, seen)
	setBack := older != "" || seen.snapshot.Checkpoint.Sequence < before.Checkpoint.Sequence
	t.compare(seen.snapshot, setBack)
	t.past.see(t.Now(), seen.snapshot, true)
	if older != "" {
		t.past.setBack(t.Now(), older)
	}
	if setBack {
		t.heard = 0 // another history begins, and others shall read of it
		t.dueNow()
	}
	t.heard = max(t.heard, seen.snapshot.Revision)
	t.reads++
	t.seen, t.leaseAt, t.launchAt = seen, map[string]int{}, map[string]int{}
	t.Observe.Checkpoint(seen.snapshot.Checkpoint)
	for n, l := range seen.snapshot.Leases {
		t.leaseAt[l.InstanceID] = n
	}
	for n, l := range seen.snapshot.Launches {
		t.launchAt[l.Token] = n
	}
}

// put replaces the value of that key, or appends it.
func put[T any](list []T, at map[string]int, key string, value T) []T {
	if n, there := at[key]; there {
		list[n] = value
		return list
	}
	at[key] = len(list)
	return append(list, value)
}
