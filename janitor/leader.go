package janitor

import (
	"context"
	"slices"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// leader is one leader's time in the lead: what it knows, and how it decides and acts on that.
type leader struct {
	*records
	*loop
	*timers
	*checkpoints
	*crew
	leadership Leadership
	live       *liveness
	since      time.Time // monotonic, as recorded
	steady     time.Time // since when etcd had not stalled, at the last decision; monotonic
	announcer  *announcer
	tagger     *tagger
	publisher  *publisher

	ends    map[string]bool  // instance ids that the last decision terminates
	asked   map[string]asked // what a reaction has tried to terminate since the last sweep, by instance id
	missed  bool             // a reaction was due, and too little was known for one
	deposed int              // sweeps in a row whose writes were refused as those of somebody who does not lead

	changes <-chan lease.Change // since the registry was read
	unwatch context.CancelFunc
}

// asked is a lease whose instance a reaction has tried to terminate.
type asked struct {
	revision int64
	again    time.Time // it failed, and may be tried again then, by the monotonic clock; zero: not before the next sweep
}

func newLeader(r *replica, leadership Leadership) *leader {
	name, records, loop, timers := leadership.Name(), newRecords(r), newLoop(), newTimers(r)
	t := &leader{
		records: records, loop: loop, timers: timers, leadership: leadership, live: &r.live, since: time.Now(), steady: leadership.Steady(),
		checkpoints: &checkpoints{records: records, name: name, elected: r.Now()},
		announcer:   &announcer{records: records, name: name},
		tagger:      &tagger{records: records, loop: loop, timers: timers, live: &r.live},
		publisher:   &publisher{records: records, loop: loop, timers: timers, leadership: leadership},
		asked:       map[string]asked{}, unwatch: func() {},
	}
	t.crew = &crew{loop: loop, live: &r.live, workers: map[lease.Location]*worker{}, leads: t}
	records.newest = leadership.Elected()
	records.historian = audit.NewHistorian(r.emit, actorName(name), t.busy)
	r.watermark.Enter()
	r.Observe.Led(name)
	r.emit(r.event(lease.ActionLead, name, ""))
	return t
}

// decide lets the heartbeats be observed and decides. read is zero if the records were kept up by a watch.
func (t *leader) decide(read time.Time) plan.Plan {
	now, wall := time.Now(), t.Now().Round(0)
	for id, written := range t.tags.Written() {
		t.joined.Wrote(id, written)
	}
	if steady := t.leadership.Steady(); steady.After(t.steady) {
		t.Log.Warn("etcd stalled; heartbeat timeouts start again", "until", steady)
		t.steady = steady
		t.renewals.Restart(now)
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
	planned.Decided = now
	t.ends = map[string]bool{}
	for _, v := range planned.Ends() {
		t.ends[v.InstanceID] = true
	}
	t.renewals.Held(now, planned.With(plan.ActHold))
	t.announcer.announce(planned.Brakes, planned.Behind)
	t.count(planned)
	return planned
}

// enforce has a plan carried out that was decided by that registry: each location's by its worker, tags and the published plan
// beside them. done is told what came of it.
func (t *leader) enforce(ctx context.Context, registry lease.Registry, swept bool, planned plan.Plan, verdicts []plan.Verdict, done func(enforce.Report)) {
	t.act(ctx, t.actor(registry, planned.Decided), registry, swept, verdicts, done)
	t.tagger.tag(ctx, planned.Tags)
	t.publisher.publish(ctx, registry, planned, swept)
}

// actor carries out what was decided by a registry at that time.
func (t *leader) actor(registry lease.Registry, decided time.Time) enforce.Actor {
	clouds := map[lease.Location]enforce.Cloud{}
	for _, cloud := range t.Clouds {
		clouds[cloud.Location()] = cloud
	}
	a := enforce.Armed{
		Name: actorName(t.leadership.Name()), Registry: t.leadership, Clouds: clouds, Policy: t.Policy, Wall: t.Now, Date: t.dates(),
		Standing: t.watermark.Standing, Decided: decided, Emit: t.historian.Did, Record: t.record, Newest: t.newest, Log: t.Log,
	}
	switch registry.Mode {
	case lease.ModeArmed:
		return a
	case lease.ModePaused:
		return enforce.Paused{Armed: a}
	}
	return enforce.Observing{Log: t.Log}
}

// wanted reports whether the last decision terminates an instance, if an older one did: a brake may hold it back by
// now.
func (t *leader) wanted(v plan.Verdict) bool {
	return v.Action != plan.ActTerminate && v.Action != plan.ActOrphan || t.ends[v.InstanceID]
}

// begins notes what a reaction tries to end, once its turn has come: while it waits, a newer plan may take its location.
func (t *leader) begins(swept bool, verdicts []plan.Verdict) {
	if swept {
		return
	}
	for _, v := range verdicts {
		if v.Action == plan.ActTerminate {
			t.asked[v.InstanceID] = asked{revision: v.Lease.Revision}
		}
	}
}

// done takes in the result of a location's plan. What it left undone, because its time was up, is decided again; what
// failed is tried again in a minute.
func (t *leader) done(location lease.Location, verdicts []plan.Verdict, report enforce.Report, stopping bool) {
	if report.Left > 0 {
		for _, v := range verdicts {
			delete(t.asked, v.InstanceID)
		}
	}
	if report.Failed > 0 {
		t.reactAgain()
		for _, v := range verdicts {
			if v.Action == plan.ActTerminate {
				t.asked[v.InstanceID] = asked{v.Lease.Revision, t.again}
			}
		}
	}
	t.historian.Settle(location) // what is ours of it is told by now
	if report.Left > 0 && !stopping {
		t.soon()
	}
}

// askedBefore reports whether a reaction has tried to terminate this very lease's instance since the last sweep. If a fresh
// description spared it, it waits for a new listing; if the attempt failed, it is tried again after a minute.
func (t *leader) askedBefore(v plan.Verdict) bool {
	asked := t.asked[v.InstanceID]
	return v.Action == plan.ActTerminate && asked.revision == v.Lease.Revision && (asked.again.IsZero() || time.Now().Before(asked.again))
}

// leave ends the leadership.
func (t *leader) leave(ctx context.Context, why string) {
	t.left = t.left.then(t.joined, t.newest, t.watermark.Nonce())
	t.emit(t.event(lease.ActionLeave, t.leadership.Name(), why))
	t.resign(ctx)
}

// observeMax bounds everything that a sweep reads from EC2 and the registry.
const observeMax = 5 * time.Minute

// watch follows the registry from the revision that was observed.
func (t *leader) watch(ctx context.Context) (<-chan lease.Change, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if t.joined.Revision == 0 {
		return nil, cancel // nothing was observed yet
	}
	return t.leadership.Watch(ctx, lease.Snapshot{Revision: t.joined.Revision}), cancel
}

// takeIn replaces the records that were observed. Another history begins if the registry was set back, and others shall read of it
// by the checkpoint of a sweep.
func (t *leader) takeIn(s lease.Snapshot, joined *plan.Joined, least int64) {
	if setBack := t.see(s, joined, least, t.idle()); setBack {
		t.dueNow()
	}
}

// resign gives the leadership up.
func (t *leader) resign(ctx context.Context) {
	t.Observe.Led("")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.leadership.Resign(ctx); err != nil {
		t.Log.Warn("cannot resign; the next leader waits until the session expires", "error", err)
	}
}
