package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/robfig/cron/v3"

	"lapse/lease"

	"lapse/janitor/plan"
)

// Config is what a janitor needs to run.
type Config struct {
	Campaign func(ctx context.Context) (Office, error) // blocks until elected
	Healthy  func(ctx context.Context) error           // whether etcd raises an alarm
	// LastStamp reads the registry and its stamp, zero if there is none, while another replica leads. Optional.
	LastStamp func(ctx context.Context) (lease.Registry, lease.Sweep, error)
	// StateDir keeps what this replica remembers of the registry beyond its process. Empty: nothing.
	StateDir string
	Clouds   []Cloud
	Policy   plan.Policy
	Schedule string           // robfig/cron, five fields or "@every 1m"
	Now      func() time.Time // the wall clock
	Notify   func(state string)
	Log      *slog.Logger
	Observe  Observer          // may be nil
	Audit    func(Event) error // may be nil; if not, what it cannot write ends nothing
}

// Janitor sweeps while it holds office.
type Janitor struct {
	Config
	schedule cron.Schedule
	past     *past
	left     struct { // what was observed when office was left last
		snapshot lease.Snapshot
		heard    int64
	}
}

// lookMax bounds one look at EC2 and the registry, or the interval does if it is longer.
const lookMax = 5 * time.Minute

// offices is how many of the last leaders the stamp remembers.
const offices = 8

// New checks the configuration. The policy's interval is taken from the schedule.
func New(c Config) (*Janitor, error) {
	schedule, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		return nil, &lease.LimitError{
			What: fmt.Sprintf("schedule %q", c.Schedule), Why: "must be five cron fields or, for example, \"@every 1m\"",
		}
	}
	c.Policy.Interval = widestGap(schedule, c.Now())
	if err := c.Policy.Check(); err != nil {
		return nil, err
	}
	if len(c.Clouds) == 0 {
		return nil, &lease.LimitError{What: "regions", Why: "must name at least one"}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Healthy == nil {
		c.Healthy = func(context.Context) error { return nil }
	}
	if c.Observe == nil {
		c.Observe = blind{}
	}
	remembers, err := openPast(c.StateDir, c.Log)
	if err != nil {
		return nil, err
	}
	return &Janitor{Config: c, schedule: schedule, past: remembers}, nil
}

// widestGap is the longest pause between two of the next runs of a schedule.
func widestGap(s cron.Schedule, now time.Time) time.Duration {
	var widest time.Duration
	last := s.Next(now)
	for range 60 {
		next := s.Next(last)
		widest = max(widest, next.Sub(last))
		last = next
	}
	return widest
}

// Run campaigns, leads, and campaigns again, until ctx ends. Asked to stop, it finishes the batches in flight and
// resigns.
func (j *Janitor) Run(ctx context.Context) error {
	j.Notify("READY=1\nSTATUS=campaigning")
	stop := j.pulse(ctx)
	defer stop()
	for {
		j.Log.Info("campaigning")
		office, err := j.elected(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fatal(err):
			return err
		case err != nil:
			j.Log.Error("not elected", "error", err)
			if !pause(ctx, time.Second) {
				return nil
			}
			continue
		}
		j.Log.Info("elected", "leader", office.Name())
		t := j.newTerm(office)
		t.leave(ctx, t.lead(ctx))
		if ctx.Err() != nil {
			return nil
		}
	}
}

// elected campaigns, and follows meanwhile what the leader of the day stamps.
func (j *Janitor) elected(ctx context.Context) (Office, error) {
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer stop()
	follower.Go(func() { j.follow(following) })
	return j.Campaign(ctx)
}

// pulse pets the service manager's watchdog: a long sweep is no reason to be restarted.
func (j *Janitor) pulse(ctx context.Context) (stop context.CancelFunc) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		for pause(ctx, 10*time.Second) {
			j.Notify("WATCHDOG=1")
		}
	}()
	return stop
}

// fatal reports whether campaigning again is of no use.
func fatal(err error) bool {
	if _, newer := errors.AsType[*lease.SchemaError](err); newer {
		return true
	}
	none, missing := errors.AsType[*lease.NotFoundError](err)
	return missing && none.Kind == "registry"
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (j *Janitor) resign(ctx context.Context, office Office) {
	j.Observe.Led("")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := office.Resign(ctx); err != nil {
		j.Log.Warn("not resigned; the election waits for the session to lapse", "error", err)
	}
}

// term is one leader's time in office.
type term struct {
	*Janitor
	office  Office
	mem     *memory
	seen    observation
	heard   int64                       // the newest revision of etcd that was observed
	since   time.Time                   // monotonic, as stamped
	stamped time.Time                   // last stamp of our own
	dated   time.Time                   // the same, by the wall clock
	witness struct{ ec2, at time.Time } // EC2's clock as it was told last, and when that was, by the monotonic clock
	elected time.Time                   // wall clock
	brakes  []lease.Brake
	illness string // why etcd is not to be trusted with silences
	deposed int    // sweeps in a row whose writes were refused as those of somebody who does not lead

	looked map[string]time.Time // when the leftovers of a launch were last looked for, by its token; monotonic

	asked   map[string]int64 // lease revisions that a reaction has tried to end since the last sweep, by instance id
	took    time.Duration    // of the last reaction
	reacted time.Time        // end of the last reaction

	leaseAt, launchAt map[string]int // where the records stand in seen
	trail             *trail

	errands
	sweepDue bool
	sweeping bool                // a sweep looks
	changes  <-chan lease.Change // since the registry was read
	unwatch  context.CancelFunc
	timer    *time.Timer // for the next reaction
	due      time.Time   // when it runs out
}

func (j *Janitor) newTerm(office Office) *term {
	now := time.Now()
	t := &term{
		Janitor: j, office: office, mem: newMemory(now), since: now, elected: j.Now(), asked: map[string]int64{},
		errands: newErrands(), looked: map[string]time.Time{}, unwatch: func() {}, timer: time.NewTimer(time.Hour), due: now.Add(time.Hour),
	}
	t.trail = newTrail(j.tell, actorName(office), t.busy)
	j.past.enter()
	j.Observe.Led(office.Name())
	_ = j.tell(t.event(EventElected, "")) // said in the log
	return t
}

// leave ends the term.
func (t *term) leave(ctx context.Context, why string) {
	if t.seen.snapshot.Revision > 0 { // else it has seen less than the term before
		t.left.snapshot, t.left.heard = t.seen.snapshot, t.heard
	}
	_ = t.tell(t.event(EventLeft, why)) // said in the log
	t.resign(ctx, t.office)
}

// event is something that this janitor says of itself.
func (t *term) event(kind EventKind, reason string) Event {
	return Event{Time: t.Now(), Kind: kind, Actor: actorName(t.office), Reason: reason, Own: true}
}

// actorName is how the histories of records name a leader.
func actorName(o Office) string { return "janitor:" + o.Name() }

// Sweep is one pass under an office held for it alone: declared causes and orphans end, silence is not judged.
func (j *Janitor) Sweep(ctx context.Context) (plan.Plan, Report, error) {
	office, err := j.Campaign(ctx)
	if err != nil {
		return plan.Plan{}, Report{}, err
	}
	j.Policy.NoSilence = true
	t := j.newTerm(office)
	defer t.leave(ctx, "one pass")
	return t.sweep(ctx)
}

// examine restarts all silences if etcd was not healthy until now.
func (t *term) examine(ctx context.Context) {
	t.illness = ""
	if err := t.Healthy(ctx); err != nil {
		t.illness = err.Error()
		t.mem.restart(time.Now())
	}
	if !t.stamped.IsZero() && t.unstamped() > 3*t.Policy.Interval {
		t.Log.Warn("no stamp written for three intervals; silences count anew")
		t.mem.restart(time.Now())
	}
}

// unstamped is for how long no stamp of our own was written.
func (t *term) unstamped() time.Duration { return passed(t.stamped, t.dated, t.Now()) }

// decide lets the memory observe and decides. read is zero if the records were kept up by a watch.
func (t *term) decide(read time.Time) plan.Plan {
	now, wall := time.Now(), t.Now().Round(0)
	t.mem.observe(now, read, t.seen.snapshot, t.seen.index)
	places := slices.Clone(t.seen.places)
	for n := range places {
		places[n].Skew += t.seen.drift(wall)
	}
	if slices.ContainsFunc(places, func(p plan.PlaceView) bool { return p.ClockTrouble(t.Policy.MaxSkew) == "" }) {
		t.past.settle(wall)
	}
	planned := plan.Decide(plan.View{
		Now: wall, Policy: t.Policy, Snapshot: t.seen.snapshot, Places: places, Silences: t.mem.silences(now),
		Standing: t.past.standing(),
		Office:   plan.OfficeView{Stamped: !t.stamped.IsZero(), Unhealthy: t.illness, Since: now.Sub(t.since)},
		Index:    t.seen.index,
	})
	t.mem.held(now, planned.Verdicts)
	t.announce(planned.Brakes)
	t.count(planned)
	return planned
}

// announce logs a brake once when it trips and once when it lifts, also if that was between two leaders. Each leader says
// which ones it holds.
func (t *term) announce(held []lease.Brake) {
	has := func(in []lease.Brake, b lease.Brake) bool {
		return slices.ContainsFunc(in, func(o lease.Brake) bool { return o.Name == b.Name && o.Scope == b.Scope })
	}
	if t.brakes == nil && !t.Policy.NoSilence { // a single pass sees no more than half of them
		t.brakes = slices.DeleteFunc(slices.Clone(t.seen.snapshot.Sweep.Brakes), func(b lease.Brake) bool { return has(held, b) })
	}
	for _, b := range held {
		if !has(t.brakes, b) {
			t.Log.Warn("brake held", "brake", b.Name, "scope", b.Scope, "reason", b.Reason)
			t.braked(EventBrakeHeld, b)
		}
	}
	for _, b := range t.brakes {
		if !has(held, b) {
			t.Log.Info("brake lifted", "brake", b.Name, "scope", b.Scope)
			t.braked(EventBrakeLifted, b)
		}
	}
	t.brakes = held
}

func (t *term) braked(kind EventKind, b lease.Brake) {
	e := t.event(kind, b.Reason)
	e.Brake, e.Scope = b.Name, b.Scope
	_ = t.tell(e) // said in the log
}

// stamp writes that this sweep happened, before anything is ended by it.
func (t *term) stamp(ctx context.Context, planned plan.Plan) error {
	last, err := lastStamp(t.seen.snapshot)
	if err != nil {
		return err
	}
	s := last
	s.Schema, s.Nonce = lease.Schema, uuid.NewString()
	s.Sequence = max(last.Sequence, t.past.sequence()) + 1 // one that cannot be read tells no number, and others remember it
	s.Time, s.Interval, s.Leader = t.date().UTC().Truncate(time.Millisecond), lease.Duration(t.Policy.Interval), t.office.Name()
	s.LaunchWindow, s.Retention = lease.Duration(t.Policy.LaunchWindow), lease.Duration(t.Policy.Retention)
	s.Acting, s.Brakes, s.Standing, s.Seen, s.Places = planned.Acting, planned.Brakes, plan.Standing(planned.Brakes), planned.Seen, nil
	for _, p := range t.seen.places {
		if p.Listed() {
			s.Places = append(s.Places, p.Place)
		}
	}
	if t.stamped.IsZero() {
		s.Offices = append(slices.Clone(s.Offices), t.elected.UTC().Truncate(time.Millisecond))
		s.Offices = s.Offices[max(0, len(s.Offices)-offices):]
	}
	written, err := t.office.PutSweep(ctx, t.seen.snapshot.Registry, s)
	if err != nil {
		return fmt.Errorf("stamp the sweep: %w", err)
	}
	t.past.wrote(written)
	t.Observe.Stamp(written)
	t.seen.snapshot.Sweep = written
	t.stamped, t.dated = time.Now(), t.Now().Round(0)
	return nil
}

// date is what a stamp is dated by: our clock or, if EC2 is witness that it is wrong, EC2's as it has told it last. For
// others judge by the date, when this clock may be right again, for how long nobody watched.
func (t *term) date() time.Time {
	wall := t.Now().Round(0)
	told, ahead := false, time.Duration(0)
	for _, p := range t.seen.places {
		if by := p.Skew + t.seen.drift(wall); p.Dated && (!told || by.Abs() < ahead.Abs()) {
			told, ahead = true, by
		}
	}
	if told {
		t.witness.ec2, t.witness.at = wall.Add(-ahead), time.Now()
	}
	if t.witness.at.IsZero() {
		return wall
	}
	if ec2 := t.witness.ec2.Add(time.Since(t.witness.at)); wall.Sub(ec2).Abs() > t.Policy.MaxSkew {
		return ec2
	}
	return wall
}

// lastStamp is the stamp to be replaced. One that is malformed is replaced by one that says nothing of what was before;
// one of a newer version is left alone, and so is everything else.
func lastStamp(s lease.Snapshot) (lease.Sweep, error) {
	for _, bad := range s.Bad {
		if bad.Kind != plan.BadSweep {
			continue
		}
		if _, newer := errors.AsType[*lease.SchemaError](bad.Err); newer {
			return lease.Sweep{}, fmt.Errorf("stamp the sweep: %w", bad.Err)
		}
		return lease.Sweep{Revision: bad.Revision}, nil
	}
	return s.Sweep, nil
}

func (t *term) actor() actor {
	if t.seen.snapshot.Registry.Mode != lease.ModeArmed {
		return observer{log: t.Log}
	}
	clouds := map[lease.Place]Cloud{}
	for _, cloud := range t.Clouds {
		clouds[cloud.Place()] = cloud
	}
	return armed{office: t.office, clouds: clouds, policy: t.Policy, wall: t.Now, log: t.Log, tell: t.trail.did, stands: t.past.standing}
}
