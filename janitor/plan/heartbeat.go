package plan

import (
	"time"

	"lapse/lease"
)

// judgeHeartbeat decides about a lease that has not expired: whether its heartbeat is lost.
func (c *planner) judgeHeartbeat(l *Row) {
	if !l.ExpiresAt.IsZero() {
		c.wake(l.ExpiresAt.Add(c.Policy.TermGrace))
	}
	s := l.Renewal
	inferred := l.Mark != nil && l.Mark.Cause.Inferred()
	switch {
	case c.doubted[l.InstanceID]:
		c.propose(l, ActReport, "its heartbeat cannot be read, so it is not judged")
	case l.HeartbeatTimeout <= 0 || s.Present || l.state != lease.InstanceRunning:
		if inferred {
			c.propose(l, ActUnmark, "renewed, or not running")
			return
		}
		c.propose(l, ActNone, "its lease is valid")
	case !l.ContestedAt.IsZero(), !l.VouchedAt.IsZero():
		c.unjudged(l, inferred)
	case c.booting(l, l.Instance, s):
		c.propose(l, ActNone, "booting")
	case c.Policy.SkipHeartbeats:
		c.propose(l, ActReport, "without a heartbeat just now; its lease has not expired, and only `janitor run` judges heartbeats")
		c.because(s)
	default:
		c.needs = needsListing | needsHeartbeats
		c.judgeLost(l, s)
		c.because(s)
	}
}

// unjudged is about a lease whose heartbeat says nothing, because of what was proved of its instance.
func (c *planner) unjudged(l *Row, inferred bool) {
	why := "the instance was proved to run although it cannot renew, so its heartbeat is not judged"
	if !l.ContestedAt.IsZero() {
		why = "more than one claims to be the instance, so its heartbeat is not judged"
	}
	if inferred {
		c.propose(l, ActUnmark, why)
		return
	}
	c.propose(l, ActReport, why)
}

// because notes the missing heartbeat that the last verdict is about.
func (c *planner) because(s Renewal) { c.verdicts[len(c.verdicts)-1].Renewal = &s }

// booting reports whether the instance has not renewed since it started, and started too recently to be judged for it.
// LaunchTime moves at every start, so it may only spare.
func (c *planner) booting(l *Row, i *lease.Instance, s Renewal) bool {
	if s.Seen {
		return false
	}
	grace := c.Policy.BootGrace
	started := c.startOf(l, i)
	if c.Now.Before(started.Add(grace)) {
		c.wake(started.Add(grace))
		return true
	}
	if c.toCome(l.GrantedAt) && s.For < grace { // it was granted when nobody knows: this leader has watched for as long, at least
		c.wake(c.Now.Add(grace - s.For))
		return true
	}
	if s.Started > 0 && s.Started < grace {
		c.wake(c.Now.Add(grace - s.Started))
		return true
	}
	return false
}

// startOf is since when an instance could renew its lease: since its last start, or since the lease was granted. A grant in the
// future says nothing: the clock of whoever granted it was ahead.
func (c *planner) startOf(l *Row, i *lease.Instance) time.Time {
	var started time.Time
	if i != nil {
		started = i.LaunchTime
	}
	if c.toCome(l.GrantedAt) {
		return started
	}
	return latest(l.GrantedAt, started)
}

// judgeLost decides about a lease whose heartbeat key is gone. A key that is gone has outlasted its timeout. Both clocks
// must agree on the termination: the wall clock for the mark's deadline, this leader's own for the timeout, the grace and the
// notice.
// A mark that was written while the wall clock was wrong has a deadline that says nothing.
func (c *planner) judgeLost(l *Row, s Renewal) {
	cause, lost := lease.CauseHeartbeatLost, "heartbeat lost"
	if !s.Seen && l.ClaimedAt.IsZero() {
		cause, lost = lease.CauseNoHeartbeat, "no heartbeat"
	}
	var wait time.Duration
	if !s.Seen || s.Cured {
		wait = time.Duration(l.HeartbeatTimeout)
	}
	grace := c.Policy.MarkGrace
	if !s.Witness {
		grace, lost = max(grace, c.Policy.LoneGrace), lost+", and no other instance in its zone has renewed since"
	}
	unmarked := l.Mark == nil || !l.Mark.Cause.Inferred()
	if unmarked { // a mark's dates would be wrong, and the deadline perhaps a year away
		c.needs |= needsClock
	}
	if s.For < wait {
		c.wake(c.Now.Add(wait - s.For))
		c.propose(l, ActNone, lost+", but a full heartbeat timeout has not passed yet")
		return
	}
	if unmarked {
		// The deadline is the earliest date. At first there can be no witness: another instance has yet to renew after this key expired.
		mark := c.propose(l, ActMark, lost)
		mark.Cause, mark.Deadline = cause, c.Now.Add(c.Policy.MarkGrace)
		return
	}
	if c.Now.Before(l.Mark.Deadline) || s.For < wait+grace || s.Marked < c.Policy.MarkGrace {
		c.wake(l.Mark.Deadline)
		c.wake(c.Now.Add(wait + grace - s.For))
		c.wake(c.Now.Add(c.Policy.MarkGrace - s.Marked))
		c.propose(l, ActNone, lost+"; marked for termination after "+l.Mark.Deadline.Format(time.RFC3339)).Cause = l.Mark.Cause
		return
	}
	end := c.propose(l, ActTerminate, lost+", and the deadline of its mark has passed")
	end.Cause, end.Due = l.Mark.Cause, l.Mark.Deadline
	for _, left := range []time.Duration{wait + grace - s.For, c.Policy.MarkGrace - s.Marked} {
		if ripe := c.Now.Add(left); ripe.After(end.Due) {
			end.Due = ripe
		}
	}
}
