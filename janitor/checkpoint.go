package janitor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"lapse/janitor/plan"
	"lapse/lease"
)

// examine restarts all silences if etcd was not healthy until now.
func (t *leader) examine(ill error) {
	t.illness = ""
	if ill != nil {
		t.illness = ill.Error()
		t.renewals.Restart(time.Now())
	}
	if !t.checkpointed.IsZero() && t.stale() {
		t.Log.Warn("for too long no checkpoint was written; silences count anew")
		t.renewals.Restart(time.Now())
	}
}

// unable says why this leader terminates nothing, whatever it decides, or is empty.
func (t *leader) unable() lease.KeptReason {
	switch {
	case t.audit.Down():
		return lease.KeptByAudit
	case !t.checkpointed.IsZero() && !t.kept:
		return lease.KeptByState
	}
	return ""
}

// stale reports whether nobody may rely on the last checkpoint of our own any more.
func (t *leader) stale() bool {
	return lease.Elapsed(t.checkpointed, t.dated, t.Now()) > t.fresh
}

// nextCheckpoint is what says that this sweep happened.
func (t *leader) nextCheckpoint(planned plan.Plan) (lease.Checkpoint, error) {
	last, err := lastCheckpoint(t.joined)
	if err != nil {
		return lease.Checkpoint{}, err
	}
	s := last
	s.Schema, s.Nonce = lease.Schema, uuid.NewString()
	s.Sequence = max(last.Sequence, t.watermark.Sequence()) + 1 // one that cannot be read tells no number, and others remember it
	s.Time, s.Leader = t.date().UTC().Truncate(time.Millisecond), t.leadership.Name()
	s.NextSweep = s.Time.Add(t.table.pause())
	if ec2, told := t.clock(t.Now().Round(0)); told {
		s.Witnessed = ec2.UTC().Truncate(time.Millisecond)
	}
	s.LaunchWindow, s.Retention = lease.Duration(t.Policy.LaunchWindow), lease.Duration(t.Policy.Retention)
	s.TermGrace, s.Unable = lease.Duration(t.Policy.TermGrace), t.unable()
	s.Enforcing, s.Brakes, s.Standing, s.Seen, s.Locations = planned.Enforcing, planned.Brakes, plan.Standing(planned.Brakes), planned.Seen, nil
	for _, p := range t.listings.Locations {
		if p.Listed() {
			s.Locations = append(s.Locations, p.Location)
		}
	}
	if t.checkpointed.IsZero() {
		s.Leaderships = append(slices.Clone(s.Leaderships), t.elected.UTC().Truncate(time.Millisecond))
		s.Leaderships = s.Leaderships[max(0, len(s.Leaderships)-leaderships):]
	}
	return s, nil
}

// wrote takes in the checkpoint as it was written, and whether this replica will remember it.
func (t *leader) wrote(written lease.Checkpoint, kept bool) {
	t.kept = kept
	t.Observe.Checkpoint(written)
	t.joined.Checkpoint = written
	t.checkpointed, t.dated, t.fresh = time.Now(), t.Now().Round(0), written.FreshFor()
}

// date is what a checkpoint is dated by: our clock or, if EC2 is witness that it is wrong, EC2's as it has told it last. For
// others judge by the date, when this clock may be right again, for how long nobody watched.
func (t *leader) date() time.Time {
	wall := t.Now().Round(0)
	if ec2, told := t.clock(wall); told && wall.Sub(ec2).Abs() > t.Policy.MaxSkew {
		return ec2
	}
	return wall
}

// dates is what records are dated by from now on, off the loop: by [leader.date], and by no step of our clock since. A date that
// was a year off would let a record go a year too soon, or make a grace run out at once.
func (t *leader) dates() func() time.Time {
	from, at := t.date(), time.Now()
	return func() time.Time { return from.Add(time.Since(at)) }
}

// clock is what EC2's shows while ours shows wall, as it was told last, and whether it ever was; ours, if not. Of several
// locations, it is the one that agrees best with ours.
func (t *leader) clock(wall time.Time) (now time.Time, ever bool) {
	told, ahead := false, time.Duration(0)
	for _, p := range t.listings.Locations {
		if by := p.Skew + t.listings.Drift(wall); p.Dated && (!told || by.Abs() < ahead.Abs()) {
			told, ahead = true, by
		}
	}
	if told {
		t.witness.ec2, t.witness.at = wall.Add(-ahead), time.Now()
	}
	if t.witness.at.IsZero() {
		return wall, false
	}
	return t.witness.ec2.Add(time.Since(t.witness.at)), true
}

// lastCheckpoint is the checkpoint to be replaced. One that is malformed is replaced by one that says nothing of what was before;
// one of a newer version is left alone, and so is everything else.
func lastCheckpoint(s *plan.Joined) (lease.Checkpoint, error) {
	for _, bad := range s.Bad {
		if bad.Kind != plan.BadCheckpoint {
			continue
		}
		if _, newer := errors.AsType[*lease.SchemaError](bad.Err); newer {
			return lease.Checkpoint{}, fmt.Errorf("checkpoint the sweep: %w", bad.Err)
		}
		return lease.Checkpoint{Revision: bad.Revision}, nil
	}
	return s.Checkpoint, nil
}
