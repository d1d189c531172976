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

// leaderships is how many of the last leaders the checkpoint remembers.
const leaderships = 8

// checkpoints are those that a leader writes: each says that a sweep happened.
type checkpoints struct {
	*records
	name         string        // of the leadership
	elected      time.Time     // wall clock
	checkpointed time.Time     // last checkpoint of our own; monotonic
	dated        time.Time     // the same, by the wall clock
	fresh        time.Duration // for how long others rely on it
	kept         bool          // the last checkpoint is on disk: without that, nothing is ended by it
	illness      string        // why etcd is not to be trusted with heartbeats
}

// examine restarts all heartbeat timeouts if etcd was not healthy until now.
func (c *checkpoints) examine(ill error) {
	c.illness = ""
	if ill != nil {
		c.illness = ill.Error()
		c.renewals.Restart(time.Now())
	}
	if !c.checkpointed.IsZero() && c.stale() {
		c.Log.Warn("no checkpoint was written for too long; heartbeat timeouts start again")
		c.renewals.Restart(time.Now())
	}
}

// unable says why this leader terminates nothing, whatever it decides, or is empty.
func (c *checkpoints) unable() lease.KeptReason {
	switch {
	case c.audit.Down():
		return lease.KeptByAudit
	case !c.checkpointed.IsZero() && !c.kept:
		return lease.KeptByState
	}
	return ""
}

// stale reports whether our own last checkpoint is too old to rely on.
func (c *checkpoints) stale() bool {
	return lease.Elapsed(c.checkpointed, c.dated, c.Now()) > c.fresh
}

// nextCheckpoint is what says that this sweep happened; pause is when the next is due after ic.
func (c *checkpoints) nextCheckpoint(planned plan.Plan, pause time.Duration) (lease.Checkpoint, error) {
	last, err := lastCheckpoint(c.joined)
	if err != nil {
		return lease.Checkpoint{}, err
	}
	s := last
	s.Schema, s.Nonce = lease.Schema, uuid.NewString()
	s.Sequence = max(last.Sequence, c.watermark.Sequence()) + 1 // one that cannot be read tells no number, and others remember it
	s.Time, s.Leader = c.date().UTC().Truncate(time.Millisecond), c.name
	s.NextSweep = s.Time.Add(pause)
	if ec2, told := c.clock(c.Now().Round(0)); told {
		s.Witnessed = ec2.UTC().Truncate(time.Millisecond)
	}
	s.LaunchWindow, s.Retention = lease.Duration(c.Policy.LaunchWindow), lease.Duration(c.Policy.Retention)
	s.TermGrace, s.Unable = lease.Duration(c.Policy.TermGrace), c.unable()
	s.Enforcing, s.Brakes, s.Behind, s.Seen, s.Locations = planned.Enforcing, planned.Brakes, planned.Behind, planned.Seen, nil
	s.Standing = plan.Standing(planned.Brakes)
	for _, p := range c.listings.Locations {
		if p.Listed() {
			s.Locations = append(s.Locations, p.Location)
		}
	}
	if c.checkpointed.IsZero() {
		s.Leaderships = append(slices.Clone(s.Leaderships), c.elected.UTC().Truncate(time.Millisecond))
		s.Leaderships = s.Leaderships[max(0, len(s.Leaderships)-leaderships):]
	}
	return s, nil
}

// wrote takes in the checkpoint as it was written, and whether this replica will remember ic.
func (c *checkpoints) wrote(written lease.Checkpoint, kept bool) {
	c.kept = kept
	c.Observe.Checkpoint(written)
	c.joined.Checkpoint = written
	c.checkpointed, c.dated, c.fresh = time.Now(), c.Now().Round(0), written.FreshFor()
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
