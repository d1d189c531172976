package plan

import (
	"cmp"
	"time"

	"lapse/lease"
)

// judge decides about one lease.
func (c *planner) judge(l *Row) {
	if l.location < 0 {
		c.propose(l, ActNone, "this janitor does not sweep its location "+l.Location().String())
		return
	}
	p, i := &c.Locations[l.location], l.Instance
	switch l.State {
	case lease.StateUnmanaged:
		c.judgeUnmanaged(p, l, i)
	case lease.StateEnded:
		c.judgeEnded(p, l, i)
	case lease.StateRevoked:
		c.judgeRevoked(p, l, i)
	case lease.StateAdopting:
		c.judgeAdopting(l, i)
	case lease.StateActive:
		c.judgeActive(p, l, i)
	}
}

func (c *planner) judgeEnded(p *LocationView, l *Row, i *lease.Instance) {
	if i == nil || !i.Alive() {
		c.judgeTombstone(p, l, i, "ended")
		return
	}
	seen := "recorded as ended, but EC2 says " + string(i.State)
	if i.ManagedBy(c.Registry.UUID) && l.Binds(*i) {
		c.propose(l, ActReopen, seen)
		return
	}
	c.propose(l, ActReport, seen+"; "+keptWords(l.kept))
}

// judgeUnmanaged keeps the record as long as its launch is known. Without the record, the instance would look like an orphan
// as soon as somebody puts the tags back.
func (c *planner) judgeUnmanaged(p *LocationView, l *Row, i *lease.Instance) {
	if c.attempts[l.ClientToken] != nil || c.attempts[l.Bore] != nil {
		c.propose(l, ActNone, "unmanaged; kept as long as the record of launch "+cmp.Or(l.Launch, l.Bore))
		return
	}
	c.judgeTombstone(p, l, i, "unmanaged")
}

// judgeTombstone deletes a record that was retained long enough, if a full listing does not show its instance.
func (c *planner) judgeTombstone(p *LocationView, l *Row, i *lease.Instance, state string) {
	keepUntil := l.EndedAt.Add(c.Policy.Retention)
	undated := l.EndedAt.IsZero()
	if undated || c.Now.Before(keepUntil) || i != nil || !p.Listed() || p.ClockTrouble(c.Policy.MaxSkew) != "" {
		c.propose(l, ActNone, state)
		return
	}
	c.propose(l, ActPurge, state+" since "+l.EndedAt.Format(time.RFC3339))
}

func (c *planner) judgeRevoked(p *LocationView, l *Row, i *lease.Instance) {
	switch {
	case i == nil && p.Absent[l.InstanceID]:
		c.judgeAbsent(l)
	case i == nil:
		c.propose(l, ActReport, "revoked; "+p.unseen())
	case i.State == lease.InstanceTerminated:
		c.propose(l, ActEnd, "EC2 says terminated").Cause = l.Cause
	case i.State == lease.InstanceShuttingDown:
		c.propose(l, ActNone, "revoked ("+string(l.Cause)+"), shutting down")
	case !l.AbsentSince.IsZero():
		c.propose(l, ActNoteSeen, "found again: EC2 says "+string(i.State))
	default:
		c.retry(l)
	}
}

// judgeAbsent waits until an instance that should be gone has been absent for long enough.
func (c *planner) judgeAbsent(l *Row) {
	c.needs = needsClock
	if l.AbsentSince.IsZero() || c.toCome(l.AbsentSince) {
		c.propose(l, ActNoteAbsent, "not found by id")
		return
	}
	gone := l.AbsentSince.Add(c.Policy.AbsentFor)
	if c.Now.Before(gone) {
		c.wake(gone)
		c.propose(l, ActNone, "not found by id since "+l.AbsentSince.Format(time.RFC3339))
		return
	}
	cause := l.Cause
	if l.State == lease.StateActive {
		cause = lease.CauseExpired
	}
	c.propose(l, ActEnd, "not found by id for "+c.Policy.AbsentFor.String()).Cause = cause
}

// retry terminates the living instance of a revoked lease again, at growing intervals.
func (c *planner) retry(l *Row) {
	if why := l.kept; why != "" {
		c.stuck(l, why, keptWords(why))
		return
	}
	c.needs = needsClock
	if c.keptRevoked(l) {
		return
	}
	due := l.TriedAt.Add(c.backoff(l))
	if l.Tries > 0 && c.Now.Before(due) && !c.toCome(l.TriedAt) {
		c.wake(due)
		reason := "revoked (" + string(l.Cause) + "); the next attempt is at " + due.Format(time.RFC3339)
		if l.Refused() {
			c.propose(l, ActReport, "stuck: "+l.Stuck)
			return
		}
		c.propose(l, ActNone, reason)
		return
	}
	end := c.propose(l, ActTerminate, "revoked ("+string(l.Cause)+"), but EC2 says "+string(l.state))
	end.Cause, end.Due = l.Cause, c.wasDue(l)
}

// wasDue is since when the instance of a revoked lease should be gone, as far as the record says.
func (c *planner) wasDue(l *Row) time.Time {
	switch {
	case l.Mark != nil && l.Mark.Cause == l.Cause:
		return l.Mark.Deadline
	case l.Cause == lease.CauseExpired && !l.ExpiresAt.IsZero():
		return l.ExpiresAt.Add(c.Policy.TermGrace)
	}
	return l.RevokedAt
}

// toCome reports whether a date at which a janitor did something has yet to come. Its clock was set between the check and
// the write, and nothing is to wait for that date: it may be a year away.
func (c *planner) toCome(done time.Time) bool { return done.Sub(c.Now) > c.Policy.MaxSkew }

// retryPassing is the longest pause between two attempts if EC2 has not refused: it had no capacity, gave no answer, or still
// shows an instance that it is terminating as alive. Such causes pass, so the next attempt must not wait as long as for a
// stuck instance.
const retryPassing = 4 * time.Minute

// backoff is the pause after the attempts so far: a minute, doubling up to RetryMax for what is stuck.
func (c *planner) backoff(l *Row) time.Duration {
	longest := c.Policy.RetryMax
	if !l.Refused() {
		longest = min(longest, retryPassing)
	}
	pause := time.Minute
	for tries := l.Tries; tries > 1 && pause < longest; tries-- {
		pause *= 2
	}
	return min(pause, longest)
}

func keptWords(why lease.KeptReason) string {
	switch why {
	case lease.KeptByExempt:
		return "exempt by its tag " + lease.TagExempt
	case lease.KeptByRegistry:
		return "does not bear this registry's tag"
	case lease.KeptByLaunch:
		return "its client token or launch tag does not match its lease"
	}
	return string(why)
}

// Sound reports whether nothing about an instance is in doubt except what its lease decides: EC2 shows it running, and it is
// ours and not exempt. Only a sound instance may make others terminate sooner, as a witness or by raising a limit.
func (l *Row) Sound() bool {
	return l.state == lease.InstanceRunning && l.kept == ""
}

func (c *planner) judgeActive(p *LocationView, l *Row, i *lease.Instance) {
	switch {
	case i == nil && !p.Absent[l.InstanceID] && c.over(l) && !p.Listed():
		c.needs = needsListing
		c.propose(l, ActReport, "its lease has expired, and it was "+p.unseen())
	case i == nil && !p.Absent[l.InstanceID]:
		c.propose(l, ActReport, p.unseen())
	case i == nil && c.over(l):
		c.judgeAbsent(l)
	case i == nil:
		c.propose(l, ActReport, "unseen: EC2 does not know it; its lease runs to its expiry")
	case l.state == lease.InstanceTerminated:
		c.propose(l, ActEnd, "terminated by somebody else").Cause = lease.CauseGone
	case l.state == lease.InstanceShuttingDown:
		c.propose(l, ActNone, "shutting down; Lapse did not terminate it")
	case !l.AbsentSince.IsZero(): // whatever it bears, or the hour would go on
		c.propose(l, ActNoteSeen, "found again: EC2 says "+string(i.State))
	case l.kept != "":
		c.judgeUntouchable(l)
	case c.behindItsTag(l):
	case c.over(l):
		c.judgeTerm(p, l)
	default:
		c.judgeHeartbeat(l)
	}
}

// judgeUntouchable reports an active lease whose instance must not be terminated, and notes what kept it beyond its date: when
// that is gone, the instance is marked first.
func (c *planner) judgeUntouchable(l *Row) {
	why := l.kept
	if !c.over(l) {
		c.propose(l, ActReport, keptWords(why))
		return
	}
	c.kept(l, why, keptWords(why))
}

// over reports whether a lease has expired on record.
func (c *planner) over(l *Row) bool { return l.expired }

// judgeTerm decides about an expired lease. If no janitor terminated instances when it expired, nobody could know that the
// instance would be terminated at once, and perhaps nobody could extend it: it is marked first. It is also marked first if
// something kept it beyond its date.
func (c *planner) judgeTerm(p *LocationView, l *Row) {
	over := "its lease expired at " + l.ExpiresAt.Format(time.RFC3339)
	c.needs = needsClock
	if c.keptByTag(l, over) {
		return
	}
	since, isEnforcing := c.enforcing[p.Location.String()]
	if marked := l.Mark != nil && l.Mark.Cause == lease.CauseExpired; marked {
		deadline := l.Mark.Deadline
		if full := since.Add(c.Policy.MarkGrace); isEnforcing && l.Mark.Since.Before(since) && full.After(deadline) {
			deadline = full // if part of a notice passed while nobody could extend, it starts again
		}
		switch {
		case !isEnforcing:
			c.wake(deadline)
			c.propose(l, ActNone, over+"; marked, and a full notice starts when terminations resume here").Cause = lease.CauseExpired
			return
		case c.Now.Before(deadline):
			c.wake(deadline)
			c.propose(l, ActNone, over+"; marked for termination after "+deadline.Format(time.RFC3339)).Cause = lease.CauseExpired
			return
		}
		end := c.propose(l, ActTerminate, over+", and the deadline of its mark has passed")
		end.Cause, end.Due = lease.CauseExpired, deadline
		return
	}
	watched := isEnforcing && !l.ExpiresAt.Add(c.Policy.TermGrace).Before(since)
	if inForce := l.ExpiresAt.After(l.CuredAt); watched && inForce && l.KeptSince.IsZero() { // not if it was adopted when it had already expired
		end := c.propose(l, ActTerminate, over)
		end.Cause, end.Due = lease.CauseExpired, l.ExpiresAt.Add(c.Policy.TermGrace)
		return
	}
	reason := over + " while terminations were suspended here"
	if !l.KeptSince.IsZero() {
		reason = over + ", and the reason that kept it (" + string(l.KeptReason) + ") is gone"
	}
	mark := c.propose(l, ActMark, reason)
	mark.Cause, mark.Deadline = lease.CauseExpired, c.Now.Add(c.Policy.MarkGrace)
}
