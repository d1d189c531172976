package plan

import (
	"time"

	"lapse/lease"
)

// judgeSilence decides about a lease that holds by date: whether its sidecar has fallen silent.
func (c *situation) judgeSilence(l *Row) {
	if !l.ExpiresAt.IsZero() {
		c.wake(l.ExpiresAt.Add(c.Policy.TermGrace))
	}
	s := l.Silence
	inferred := l.Mark != nil && l.Mark.Cause.Inferred()
	switch {
	case c.doubted[l.InstanceID]:
		c.say(l, ActReport, "its heartbeat cannot be read, so it is not judged by silence")
	case l.HeartbeatTimeout <= 0 || s.Broken || l.state != lease.InstanceRunning:
		if inferred {
			c.say(l, ActUnmark, "renewed, or not running")
			return
		}
		c.say(l, ActKeep, "its lease holds")
	case c.booting(l, l.Instance, s):
		c.say(l, ActKeep, "booting")
	case c.Policy.NoSilence:
		c.say(l, ActReport, "silent just now; its lease holds by date, and silence is judged by `janitor run` only")
		c.because(s)
	default:
		c.needs = needsListing | needsHeartbeats
		c.judgeSilent(l, s)
		c.because(s)
	}
}

// because notes the silence that the last verdict is about.
func (c *situation) because(s Silence) { c.verdicts[len(c.verdicts)-1].Silence = &s }

// booting reports whether the instance has not beaten since it started, and started too recently to be judged for it.
// LaunchTime moves at every start, so it may only spare.
func (c *situation) booting(l *Row, i *lease.Instance, s Silence) bool {
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

// startOf is since when an instance could beat for its lease: since it started last, or the lease was granted. Where that is yet
// to come, whoever granted it had a clock that was ahead, and it says nothing.
func (c *situation) startOf(l *Row, i *lease.Instance) time.Time {
	var started time.Time
	if i != nil {
		started = i.LaunchTime
	}
	if c.toCome(l.GrantedAt) {
		return started
	}
	return latest(l.GrantedAt, started)
}

// judgeSilent decides about a lease whose heartbeat key is gone. A key that is gone has outlasted its timeout. Both clocks
// must agree to the end: the wall clock to the mark's deadline, this leader's own to the silence, its grace and the notice.
// A mark that was written while the wall clock was wrong has a deadline that says nothing.
func (c *situation) judgeSilent(l *Row, s Silence) {
	cause, silent := lease.CauseHeartbeatLost, "silent"
	if !s.Seen && l.ClaimedAt.IsZero() {
		cause, silent = lease.CauseNoHeartbeat, "silent from the beginning"
	}
	var wait time.Duration
	if !s.Seen || s.Cured {
		wait = time.Duration(l.HeartbeatTimeout)
	}
	grace := c.Policy.MarkGrace
	if !s.Witness {
		grace, silent = max(grace, c.Policy.LoneGrace), silent+", and so far nothing else of its zone renewed since"
	}
	unmarked := l.Mark == nil || !l.Mark.Cause.Inferred()
	if unmarked { // a mark's dates would be wrong, and the deadline perhaps a year away
		c.needs |= needsClock
	}
	if s.For < wait {
		c.wake(c.Now.Add(wait - s.For))
		c.say(l, ActKeep, silent+", but not yet for its whole TTL, counted anew")
		return
	}
	if unmarked {
		// The deadline is the earliest date. At first there can be no witness: it has yet to renew after this key lapsed.
		mark := c.say(l, ActMark, silent)
		mark.Cause, mark.Deadline = cause, c.Now.Add(c.Policy.MarkGrace)
		return
	}
	if c.Now.Before(l.Mark.Deadline) || s.For < wait+grace || s.Noticed < c.Policy.MarkGrace {
		c.wake(l.Mark.Deadline)
		c.wake(c.Now.Add(wait + grace - s.For))
		c.wake(c.Now.Add(c.Policy.MarkGrace - s.Noticed))
		c.say(l, ActKeep, silent+", marked until "+l.Mark.Deadline.Format(time.RFC3339)).Cause = l.Mark.Cause
		return
	}
	end := c.say(l, ActEnd, silent+", and its notice has passed")
	end.Cause, end.Due = l.Mark.Cause, l.Mark.Deadline
	for _, left := range []time.Duration{wait + grace - s.For, c.Policy.MarkGrace - s.Noticed} {
		if ripe := c.Now.Add(left); ripe.After(end.Due) {
			end.Due = ripe
		}
	}
}
