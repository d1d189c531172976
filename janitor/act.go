package janitor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
)

// actor carries out a plan, or only reports it.
type actor interface {
	act(ctx context.Context, reg lease.Registry, planned plan.Plan) Report
}

// Report counts what came of a plan. Ended counts what EC2 confirmed, Asked what it was asked to end.
type Report struct {
	Marked  int `json:"marked"`
	Asked   int `json:"asked"`
	Ended   int `json:"ended"`
	Removed int `json:"removed"` // leftovers that EC2 removed when asked, or did not know any more
	Spared  int `json:"spared"`  // to be ended by the plan, and not ended on a fresh look
	Failed  int `json:"failed"`
	Held    int `json:"held"`
	Left    int `json:"left"` // to be ended, and not begun for want of time
}

func (r *Report) add(other Report) {
	r.Marked += other.Marked
	r.Asked += other.Asked
	r.Ended += other.Ended
	r.Removed += other.Removed
	r.Spared += other.Spared
	r.Failed += other.Failed
	r.Held += other.Held
	r.Left += other.Left
}

// observer is the actor of a registry that observes: it writes nothing and ends nothing.
type observer struct{ log *slog.Logger }

func (o observer) act(_ context.Context, reg lease.Registry, planned plan.Plan) Report {
	for _, v := range planned.Verdicts {
		if v.Action != plan.ActKeep && v.Action != plan.ActReport {
			o.log.Info("would act", "mode", string(reg.Mode), "action", string(v.Action), "instance_id", v.InstanceID,
				"launch", v.Token, "leftover", v.LeftoverID(), "reason", v.Reason)
		}
	}
	return Report{Held: len(planned.With(plan.ActHold))}
}

// paused is the actor of a paused registry: it raises records that are behind their tags, so that a date that is agreed by
// then is the newer word and gets onto the tag too. Of everything else it only reports.
type paused struct{ armed }

func (p paused) act(ctx context.Context, reg lease.Registry, planned plan.Plan) Report {
	report := p.notes(ctx, reg, planned.With(plan.ActRaise))
	planned.Verdicts = slices.DeleteFunc(slices.Clone(planned.Verdicts), func(v plan.Verdict) bool { return v.Action == plan.ActRaise })
	report.add(observer{log: p.log}.act(ctx, reg, planned))
	return report
}

// armed is the actor that carries the plan out.
type armed struct {
	leadership Leadership
	clouds     map[lease.Location]Cloud
	policy     plan.Policy
	wall       func() time.Time // our clock, as it is: for what is checked against EC2's just now
	date       func() time.Time // what is written down is dated by: see [term.dates]
	log        *slog.Logger
	tell       func(audit.Event)       // may be nil
	record     func(audit.Event) error // may be nil
	stands     func() []lease.Brake    // those held until a person lifts them, as known just now; may be nil
}

// told tells what this janitor has done.
func (a armed) told(e audit.Event) {
	if a.tell != nil {
		a.tell(a.signed(e))
	}
}

// recorded tells what this janitor is about to do, and fails unless the audit log has it.
func (a armed) recorded(e audit.Event) error {
	if a.record == nil {
		return nil
	}
	return a.record(a.signed(e))
}

func (a armed) signed(e audit.Event) audit.Event {
	e.Time, e.Actor, e.Own = a.date(), a.by("").Actor, true
	return e
}

// Bounds of what is done side by side.
const (
	batchSize    = 50 // instances in one TerminateInstances call
	triesAtOnce  = 16 // calls for those of a zone that were tried equally often
	writesAtOnce = 16
	killsAtOnce  = 8
	zonesAtOnce  = 8 // of one location, asked about by id
)

func (a armed) act(ctx context.Context, reg lease.Registry, planned plan.Plan) Report {
	total := Report{Held: len(planned.With(plan.ActHold))}
	var mu sync.Mutex
	add := func(r Report) {
		mu.Lock()
		defer mu.Unlock()
		total.add(r)
	}
	notes := planned.With(plan.ActMark, plan.ActUnmark, plan.ActStuck, plan.ActAbsent, plan.ActSeen, plan.ActConfirm, plan.ActReopen, plan.ActActivate, plan.ActDone, plan.ActClose, plan.ActClear, plan.ActPurge,
		plan.ActRaise, plan.ActNoteTag, plan.ActKept)
	var both sync.WaitGroup // many marks must not keep the ends waiting
	both.Go(func() {
		add(a.notes(ctx, reg, append(notes, looks(planned)...)))
	})
	both.Go(func() {
		abreast(killsAtOnce, batches(planned.Ends()), func(batch []plan.Verdict) { add(a.kill(ctx, reg, batch)) })
	})
	both.Wait()
	add(a.clean(ctx, reg, planned.With(plan.ActRemove)))
	return total
}

// abreast calls do for each item, at most n at once.
func abreast[T any](n int, items []T, do func(T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, n)
	for _, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(item)
		})
	}
	wg.Wait()
}

// batches groups verdicts by location and zone, so that trouble in one zone spares nobody in another, and by how often each
// was tried. One instance may be why EC2 fails a call for all, which does not say so: whoever was tried in vain is tried
// again in a batch of half the size, until it stands alone. But a zone in which many were tried in vain is in trouble
// itself: however many they are, they make no more than 16 calls, or full batches.
func batches(vs []plan.Verdict) [][]plan.Verdict {
	type company struct {
		location lease.Location
		zone     string
		halved   int
	}
	var order []company
	members := map[company][]plan.Verdict{}
	for _, v := range vs {
		c := company{location: v.Location, zone: v.Zone}
		if v.Lease != nil {
			c.halved = min(v.Lease.Tries, bits.Len(batchSize))
		}
		if members[c] == nil {
			order = append(order, c)
		}
		members[c] = append(members[c], v)
	}
	slices.SortStableFunc(order, func(a, b company) int { return cmp.Compare(a.halved, b.halved) }) // what is new waits for no retry
	var all [][]plan.Verdict
	for _, c := range order {
		fewest := (len(members[c]) + triesAtOnce - 1) / triesAtOnce
		size := min(batchSize, max(1, batchSize>>c.halved, fewest))
		all = slices.AppendSeq(all, slices.Chunk(members[c], size))
	}
	return all
}

// looks makes one verdict of all first looks at what a launch left, since they are one write.
func looks(planned plan.Plan) []plan.Verdict {
	var joined []plan.Verdict
	at := map[string]int{}
	for _, v := range planned.With(plan.ActLook) {
		n, seen := at[v.Token]
		if !seen {
			n = len(joined)
			at[v.Token] = n
			joined = append(joined, v)
		}
		joined[n].Looked = append(joined[n].Looked, cmp.Or(v.InstanceID, v.LeftoverID()))
	}
	return joined
}

// notes writes transitions that end nothing, some at once.
func (a armed) notes(ctx context.Context, reg lease.Registry, verdicts []plan.Verdict) (total Report) {
	var mu sync.Mutex
	abreast(writesAtOnce, verdicts, func(v plan.Verdict) {
		r := a.note(ctx, reg, v)
		mu.Lock()
		defer mu.Unlock()
		total.add(r)
	})
	return total
}

// note writes one of them.
func (a armed) note(ctx context.Context, reg lease.Registry, v plan.Verdict) Report {
	if ctx.Err() != nil {
		return Report{}
	}
	written, err := a.write(ctx, reg, v)
	log := a.log.With("action", string(v.Action), "instance_id", v.InstanceID, "launch", v.Token, "reason", v.Reason)
	switch {
	case isConflict(err):
		log.Debug("overtaken")
		return Report{}
	case err != nil:
		log.Error("write failed", "error", err)
		a.told(failedOf(v, err))
		return Report{Failed: 1}
	}
	done := eventOf(v, lease.Action(v.Action))
	done.Revision, done.Changes = written.revision, written.changes
	if v.Action == plan.ActMark {
		done.Evidence.Mark = &lease.Mark{Cause: v.Cause, Since: a.date().UTC().Truncate(time.Millisecond), Deadline: v.Deadline}
	}
	a.told(done)
	switch v.Action {
	case plan.ActMark:
		log.Warn("marked", "cause", string(v.Cause), "deadline", v.Deadline)
		return Report{Marked: 1}
	case plan.ActRaise:
		log.Warn("raised to its tag: the registry was set back, or somebody edited the tag", "tag", v.Tag.String())
		return Report{}
	case plan.ActConfirm:
		log.Info("ended")
		return Report{Ended: 1}
	}
	log.Info("noted")
	return Report{}
}

// wrote is a record as written: its revision and, of a lease, its change counter.
type wrote struct{ revision, changes int64 }

// write writes what a verdict asks for.
func (a armed) write(ctx context.Context, reg lease.Registry, v plan.Verdict) (wrote, error) {
	switch v.Action {
	case plan.ActDone, plan.ActClose, plan.ActLook, plan.ActClear:
		return a.writeLaunch(ctx, reg, v)
	case plan.ActPurge:
		if v.Lease != nil {
			return wrote{}, a.leadership.DeleteLease(ctx, reg, *v.Lease)
		}
		return wrote{}, a.leadership.DeleteLaunch(ctx, reg, *v.Launch)
	}
	changed, err := a.change(v)
	if err != nil {
		return wrote{}, err
	}
	changed, err = a.leadership.PutLease(ctx, reg, changed)
	return wrote{changed.Revision, changed.Changes}, err
}

// change is the transition of a lease that a verdict asks for.
func (a armed) change(v plan.Verdict) (lease.Lease, error) {
	now, by := a.date(), a.by(v.Reason)
	switch v.Action {
	case plan.ActMark:
		return v.Lease.WithMark(now, v.Cause, v.Deadline, by)
	case plan.ActUnmark:
		return v.Lease.WithoutMark(now, by)
	case plan.ActStuck:
		return v.Lease.StuckBecause(now, v.Kept, v.Reason, by)
	case plan.ActAbsent:
		return v.Lease.Absent(now)
	case plan.ActSeen:
		return v.Lease.Seen()
	case plan.ActConfirm:
		return v.Lease.End(now, v.Cause, by)
	case plan.ActReopen:
		return v.Lease.Reopen(now, by)
	case plan.ActActivate:
		return v.Lease.Activate(now, by)
	case plan.ActRaise:
		return v.Lease.Raise(now, v.Tag, by)
	case plan.ActNoteTag:
		return v.Lease.NoteTag(now, v.Tag, by)
	case plan.ActKept:
		return v.Lease.Keep(now, v.Kept, by)
	}
	return lease.Lease{}, errors.New("no transition for " + string(v.Action))
}

func (a armed) writeLaunch(ctx context.Context, reg lease.Registry, v plan.Verdict) (wrote, error) {
	var launch lease.Launch
	var err error
	switch v.Action {
	case plan.ActDone:
		launch, err = v.Launch.Done(a.date())
	case plan.ActClose:
		launch, err = v.Launch.Close(a.date(), v.Reason)
	case plan.ActClear:
		launch, err = v.Launch.Cleared(a.date())
	default:
		launch, err = v.Launch.Looked(a.date(), v.Looked...)
	}
	if err != nil {
		return wrote{}, err
	}
	launch, err = a.leadership.PutLaunch(ctx, reg, launch)
	return wrote{revision: launch.Revision}, err
}

func (a armed) by(reason string) lease.By {
	return lease.By{Actor: actorName(a.leadership), Reason: reason}
}

func isConflict(err error) bool {
	_, conflict := errors.AsType[*lease.ConflictError](err)
	return conflict
}
