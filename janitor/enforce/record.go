package enforce

import (
	"context"
	"errors"
	"sync"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// records are the actions that only write a record. A first sighting is one, too: see [firstSightings].
func records() []plan.Action {
	return []plan.Action{
		plan.ActMark, plan.ActUnmark, plan.ActStuck, plan.ActNoteAbsent, plan.ActNoteSeen, plan.ActEnd, plan.ActReopen, plan.ActActivate,
		plan.ActRaise, plan.ActNoteTag, plan.ActKeep, plan.ActComplete, plan.ActClose, plan.ActClear, plan.ActPurge,
	}
}

// recordAll writes what verdicts ask for, some at once.
func (a Armed) recordAll(ctx context.Context, reg lease.Registry, verdicts []plan.Verdict) (total Report) {
	var mu sync.Mutex
	abreast(writesAtOnce, verdicts, func(v plan.Verdict) {
		r := a.record(ctx, reg, v)
		mu.Lock()
		defer mu.Unlock()
		total.Add(r)
	})
	return total
}

// record writes what one verdict asks for, and tells it.
func (a Armed) record(ctx context.Context, reg lease.Registry, v plan.Verdict) Report {
	if ctx.Err() != nil {
		return Report{}
	}
	if least := a.Date().UTC().Round(0).Add(a.Policy.MarkGrace); v.Action == plan.ActMark && v.Deadline.Before(least) {
		v.Deadline = least // the notice counts from when it is given, however long that waited for its turn
	}
	written, err := a.write(ctx, reg, v)
	log := a.Log.With("action", string(v.Action), "instance_id", v.InstanceID, "launch", v.Token, "reason", v.Reason)
	switch {
	case isConflict(err):
		log.Debug("not written: the record has changed")
		return Report{}
	case err != nil:
		log.Error("write failed", "error", err)
		a.emit(failedOf(v, err))
		return Report{Failed: 1}
	}
	done := eventOf(v, lease.Action(v.Action))
	done.Revision, done.Changes = written.revision, written.changes
	if v.Action == plan.ActMark {
		done.Evidence.Mark = &lease.Mark{Cause: v.Cause, Since: a.Date().UTC().Truncate(time.Millisecond), Deadline: v.Deadline}
	}
	a.emit(done)
	switch v.Action {
	case plan.ActMark:
		log.Warn("marked", "cause", string(v.Cause), "deadline", v.Deadline)
		return Report{Marked: 1}
	case plan.ActRaise:
		log.Warn("raised to its tag: the registry was set back, or somebody edited the tag", "tag", v.Tag.String())
		return Report{}
	case plan.ActEnd:
		log.Info("ended")
		return Report{Ended: 1}
	}
	log.Info("noted")
	return Report{}
}

// written is a record as it was written: its revision and, of a lease, its change counter.
type written struct{ revision, changes int64 }

func (a Armed) write(ctx context.Context, reg lease.Registry, v plan.Verdict) (written, error) {
	switch v.Action {
	case plan.ActComplete, plan.ActClose, plan.ActFirstSeen, plan.ActClear:
		launch, err := settled(v, a.Date())
		if err != nil {
			return written{}, err
		}
		launch, err = a.Registry.PutLaunch(ctx, reg, launch)
		return written{revision: launch.Revision}, err
	case plan.ActPurge:
		if v.Lease != nil {
			return written{}, a.Registry.DeleteLease(ctx, reg, *v.Lease)
		}
		return written{}, a.Registry.DeleteLaunch(ctx, reg, *v.Launch)
	}
	changed, err := Changed(v, a.Date(), a.by(v.Reason))
	if err != nil {
		return written{}, err
	}
	changed, err = a.Registry.PutLease(ctx, reg, changed)
	return written{changed.Revision, changed.Changes}, err
}

// Changed is the lease of a verdict after the transition that the verdict asks for.
func Changed(v plan.Verdict, now time.Time, by lease.By) (lease.Lease, error) {
	switch v.Action {
	case plan.ActMark:
		return v.Lease.WithMark(now, v.Cause, v.Deadline, by)
	case plan.ActUnmark:
		return v.Lease.WithoutMark(now, by)
	case plan.ActStuck:
		return v.Lease.StuckBecause(now, v.Kept, "", v.Reason, by)
	case plan.ActNoteAbsent:
		return v.Lease.Absent(now)
	case plan.ActNoteSeen:
		return v.Lease.Seen()
	case plan.ActEnd:
		return v.Lease.End(now, v.Cause, by)
	case plan.ActReopen:
		return v.Lease.Reopen(now, by)
	case plan.ActActivate:
		return v.Lease.Activate(now, by)
	case plan.ActRaise:
		return v.Lease.Raise(now, v.Tag, by)
	case plan.ActNoteTag:
		return v.Lease.NoteTag(now, v.Tag, by)
	case plan.ActKeep:
		return v.Lease.Keep(now, v.Kept, by)
	}
	return lease.Lease{}, errors.New("no transition for " + string(v.Action))
}

// settled is the launch of a verdict after what the verdict asks for.
func settled(v plan.Verdict, now time.Time) (lease.Launch, error) {
	switch v.Action {
	case plan.ActComplete:
		return v.Launch.Done(now)
	case plan.ActClose:
		return v.Launch.Close(now, v.Reason)
	case plan.ActClear:
		return v.Launch.Cleared(now)
	}
	return v.Launch.NoteFirstSeen(now, v.FirstSeen...)
}

func (a Armed) by(reason string) lease.By { return lease.By{Actor: a.Name, Reason: reason} }

func isConflict(err error) bool {
	_, conflict := errors.AsType[*lease.ConflictError](err)
	return conflict
}
