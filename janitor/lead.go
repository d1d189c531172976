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

// lead is the leader's one loop. It sweeps at once and on schedule. Between sweeps, and while a sweep lists EC2, a watch
// keeps the records up to date, and a timer waits for the next date on which the plan changes. Both lead to the same
// decision over the last listing. The kill function describes every instance again before it terminates it, and each write
// compares what was judged, so a listing that is a minute old can only spare. The sweep remains the source of truth.
//
// Nothing blocks the loop: everything that reads, writes, calls or may block runs beside it and hands back a function. So
// the loop keeps turning, and only a loop that turns keeps the leadership.
//
// lead returns why the leadership ended, and an error if some work did not finish.
func (t *leader) lead(ctx context.Context) (why string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	t.live.lead()
	t.leadership.While(t.live.alive)
	defer func() {
		t.live.leave() // the loop no longer turns, and leadership is not given up before the work in flight has finished
		cancel()
		t.unwatch()
		if !t.finish(leaveMax) { // batches in flight are
			err = errors.New("work in flight did not finish within " + leaveMax.String() + " after leadership ended; restart this process")
		}
	}()
	t.dueNow() // the first is, at once
	next, idle := t.next, time.NewTicker(turnIdle)
	next.Reset(0)
	defer next.Stop()
	defer idle.Stop()
	for {
		if t.sweepDue && !t.sweeping {
			t.begin(ctx, t.swept)
		}
		t.live.turned()
		t.Observe.Turned(turnMax)
		select {
		case <-ctx.Done():
			return "asked to stop", nil
		case <-t.leadership.Lost():
			t.Log.Warn("leadership lost", "leader", t.leadership.Name())
			return "leadership lost", nil
		case <-idle.C:
		case <-next.C:
			if t.table.wait() == 0 {
				t.table.swept() // if a sweep is under way, the next one follows it
				t.dueNow()
			}
			next.Reset(t.table.wait())
		case change, open := <-t.changes:
			t.follow(ctx, change, open)
		case then := <-t.back:
			then()
		case <-t.timer.C:
			t.wakeFor(t.react(ctx).Next)
		}
		if t.deposed > 1 {
			t.Log.Warn("no longer recognised as leader; campaigning again", "leader", t.leadership.Name())
			return "no longer recognised as leader", nil
		}
	}
}

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

// catchUp takes in what the watch has told by now, so that nothing is decided without it.
func (t *leader) catchUp(ctx context.Context) {
	for n := len(t.changes); n > 0 && len(t.changes) > 0; n-- {
		change, open := <-t.changes
		t.follow(ctx, change, open)
	}
}

// react decides over the last listing and the records as the watch has kept them.
func (t *leader) react(ctx context.Context) plan.Plan {
	if t.joined.Revision == 0 || t.checkpointed.IsZero() || !t.kept || t.stale() {
		t.missed = true
		return plan.Plan{} // too little is known, or for too long nothing was
	}
	t.catchUp(ctx)
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
