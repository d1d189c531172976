package janitor

import (
	"context"
	"errors"
	"slices"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// leader is one leader's time in the lead.
type leader struct {
	*Janitor
	leadership   Leadership
	renewals     *observe.Renewals
	listings     observe.Listings            // of the last look
	joined       *plan.Joined                // with the records as they are known; of revision 0 before the first look
	newest       int64                       // the newest revision of etcd that was observed
	since        time.Time                   // monotonic, as recorded
	checkpointed time.Time                   // last checkpoint of our own
	dated        time.Time                   // the same, by the wall clock
	fresh        time.Duration               // for how long others rely on it
	witness      struct{ ec2, at time.Time } // EC2's clock as it was told last, and when that was, by the monotonic clock
	kept         bool                        // the last checkpoint is on disk: without that, nothing is ended by it
	elected      time.Time                   // wall clock
	brakes       []lease.Brake
	started      bool   // it was said that this leader starts up
	illness      string // why etcd is not to be trusted with silences
	deposed      int    // sweeps in a row whose writes were refused as those of somebody who does not lead

	leftoversListed map[string]time.Time // when the leftovers of a launch were last looked for, by its token; monotonic

	ends    map[string]bool  // instance ids that the last decision ends
	asked   map[string]asked // what a reaction has tried to end since the last sweep, by instance id
	again   time.Time        // when what failed is tried again
	took    time.Duration    // of the last reaction
	reacted time.Time        // end of the last reaction
	missed  bool             // a reaction was due, and too little was known for one

	reads     int              // snapshots taken in
	historian *audit.Historian // what others do

	beside
	workers
	tags *enforce.Tags

	published publisher

	table    timetable
	next     *time.Timer // for the next sweep
	sweepDue bool
	sweeping bool                // a sweep is under way
	changes  <-chan lease.Change // since the registry was read
	unwatch  context.CancelFunc
	timer    *time.Timer // for the next reaction
	due      time.Time   // when it runs out
}

// asked is a lease that a reaction has tried to end.
type asked struct {
	revision int64
	again    time.Time // it failed, and may be tried again then, by the monotonic clock; zero: not before the next sweep
}

func (j *Janitor) newLeader(leadership Leadership) *leader {
	now := time.Now()
	t := &leader{
		Janitor: j, leadership: leadership, renewals: observe.NewRenewals(), joined: plan.Join(lease.Snapshot{}, nil, nil, nil), since: now, elected: j.Now(), asked: map[string]asked{},
		beside: newBeside(), workers: workers{}, tags: enforce.NewTags(), leftoversListed: map[string]time.Time{}, unwatch: func() {},
		table: timetable{schedule: j.schedule, now: j.Now}, timer: time.NewTimer(time.Hour), due: now.Add(time.Hour), next: time.NewTimer(time.Hour),
	}
	t.historian = audit.NewHistorian(j.emit, actorName(leadership), t.busy)
	j.watermark.Enter()
	j.Observe.Led(leadership.Name())
	j.emit(t.event(lease.ActionLead, ""))
	return t
}

// lead is the leader's one loop. It sweeps at once and on schedule. Between sweeps, and while one looks at EC2, a watch
// keeps the records up to date, and a timer waits for the next date on which the plan changes; both lead to the same
// decision over the last listing. The kill function describes afresh whatever it ends, and each write compares what was
// judged, so a listing that is a minute old can only spare. The sweep remains the source of truth.
//
// Nothing on the loop waits for anything but for it: what reads, writes, calls or may block otherwise runs beside it and
// hands back a function. So the loop turns, and that it does keeps the leadership.
//
// It returns why it ended, and an error if some work has not come back.
func (t *leader) lead(ctx context.Context) (why string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	t.live.lead()
	t.leadership.While(t.live.alive)
	defer func() {
		t.live.leave() // there is no loop any more that could turn, and nothing is given up before what is in flight has ended
		cancel()
		t.unwatch()
		if !t.finish(leaveMax) { // batches in flight are
			err = errors.New("work has not come back " + leaveMax.String() + " after the leadership was left; this process is of no use any more")
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
			t.Log.Warn("office lost", "leader", t.leadership.Name())
			return "office lost", nil
		case <-idle.C:
		case <-next.C:
			if t.table.wait() == 0 {
				t.table.swept() // if one looks now, the next follows
				t.dueNow()
			}
			next.Reset(t.table.wait())
		case change, open := <-t.changes:
			t.follow(ctx, change, open)
		case then := <-t.back:
			then()
		case <-t.timer.C:
			t.wakeFor(t.react(ctx))
		}
		if t.deposed > 1 {
			t.Log.Warn("no longer recognised as leader; campaigning again", "leader", t.leadership.Name())
			return "no longer recognised as leader", nil
		}
	}
}

// dueAgain has a sweep begin in a minute, however long the schedule pauses: only a look tells what is not known now.
func (t *leader) dueAgain() {
	t.table.failed()
	t.next.Reset(t.table.wait())
}

// dueNow has a sweep begin as soon as none is under way.
func (t *leader) dueNow() {
	t.sweepDue = true
	t.live.sweepDue()
}

// leave ends the term.
func (t *leader) leave(ctx context.Context, why string) {
	if t.joined.Revision > 0 { // else it has seen less than the term before
		t.left.joined, t.left.newest = t.joined, t.newest
	}
	t.emit(t.event(lease.ActionLeave, why))
	t.resign(ctx, t.leadership)
}

// event is something that this janitor says of itself.
func (t *leader) event(kind lease.Action, reason string) audit.Event {
	return audit.Event{Time: t.Now(), Kind: kind, Actor: actorName(t.leadership), Reason: reason, Own: true}
}

// actorName is how the histories of records name a leader.
func actorName(o Leadership) string { return "janitor:" + o.Name() }

// decide lets the heartbeats be observed and decides. read is zero if the records were kept up by a watch.
func (t *leader) decide(read time.Time) plan.Plan {
	now, wall := time.Now(), t.Now().Round(0)
	for id, written := range t.tags.Written() {
		t.joined.Wrote(id, written)
	}
	t.renewals.Observe(now, read, t.joined)
	locations := slices.Clone(t.listings.Locations)
	for n := range locations {
		locations[n].Skew += t.listings.Drift(wall)
	}
	t.watermark.Settle(t.clock(wall))
	planned := plan.Decide(plan.View{
		Now: wall, Policy: t.Policy, Joined: t.joined, Locations: locations, Standing: t.watermark.Standing(),
		Leadership: plan.LeadershipView{Checkpointed: !t.checkpointed.IsZero(), Unhealthy: t.illness, Since: now.Sub(t.since), Unable: t.unable()},
	})
	t.ends = map[string]bool{}
	for _, v := range planned.Ends() {
		t.ends[v.InstanceID] = true
	}
	t.renewals.Held(now, planned.With(plan.ActHold))
	t.announce(planned.Brakes)
	t.count(planned)
	return planned
}

// announce logs a brake once when it trips and once when it lifts, also if that was between two leaders. Each leader says
// which ones it holds. That a leader has just started is no brake that anybody should look at, and is said as what it is.
func (t *leader) announce(held []lease.Brake) {
	starting := func(b lease.Brake) bool { return b.Starting }
	if !t.started && slices.ContainsFunc(held, starting) {
		t.Log.Info("starting up: heartbeats are judged after the next sweep")
		t.started = true
	}
	held = slices.DeleteFunc(slices.Clone(held), starting)
	has := func(in []lease.Brake, b lease.Brake) bool {
		return slices.ContainsFunc(in, func(o lease.Brake) bool { return o.Name == b.Name && o.Scope == b.Scope })
	}
	if t.brakes == nil && !t.Policy.SkipHeartbeats { // a single pass sees no more than half of them
		t.brakes = slices.DeleteFunc(slices.Clone(t.joined.Checkpoint.Brakes), func(b lease.Brake) bool { return starting(b) || has(held, b) })
	}
	for _, b := range held {
		if !has(t.brakes, b) {
			t.Log.Warn("brake engaged", "brake", b.Name, "scope", b.Scope, "reason", b.Reason)
			t.braked(lease.ActionBrakeEngage, b)
		}
	}
	for _, b := range t.brakes {
		if !has(held, b) {
			t.Log.Info("brake released", "brake", b.Name, "scope", b.Scope)
			t.braked(lease.ActionBrakeDisengage, b)
		}
	}
	t.brakes = held
}

func (t *leader) braked(kind lease.Action, b lease.Brake) {
	e := t.event(kind, b.Reason)
	e.Brake, e.Scope = b.Name, b.Scope
	t.emit(e)
}

// actor carries out what was decided by a registry.
func (t *leader) actor(registry lease.Registry) enforce.Actor {
	clouds := map[lease.Location]enforce.Cloud{}
	for _, cloud := range t.Clouds {
		clouds[cloud.Location()] = cloud
	}
	a := enforce.Armed{
		Name: actorName(t.leadership), Registry: t.leadership, Clouds: clouds, Policy: t.Policy, Wall: t.Now, Date: t.dates(),
		Standing: t.watermark.Standing, Emit: t.historian.Did, Record: t.record, Log: t.Log,
	}
	switch registry.Mode {
	case lease.ModeArmed:
		return a
	case lease.ModePaused:
		return enforce.Paused{Armed: a}
	}
	return enforce.Observing{Log: t.Log}
}
