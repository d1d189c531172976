package plan

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"lapse/lease"
)

// TagWrite is a tag to write onto an instance, by its lease.
type TagWrite struct {
	Location   lease.Location
	InstanceID string
	Key, Value string
	// Attached are the volumes and interfaces that are to bear it first.
	Attached []string
	Expires  lease.Expiry // of the tag [lease.TagExpires]
	Soonest  time.Time    // the earlier of the dates that record and tag say: what passes soonest is written first; zero: neither passes
	Ahead    bool         // both dates are more than an hour ahead: the write can wait
}

// Written is what was written onto an instance since it was listed, and EC2 has taken.
type Written struct {
	Expires lease.Expiry // number 0: nothing
	Leased  string
}

// tagWrites are the tags that instances lack by their leases. Never while observing: another registry's janitor, or none,
// may be what counts then.
func (c *planner) tagWrites() []TagWrite {
	if c.Registry.Mode == lease.ModeObserve {
		return nil
	}
	everything := c.standsStill()
	var all []TagWrite
	for n := range c.Rows {
		if l := &c.Rows[n]; l.writes {
			all = c.tagsOf(l, everything, all)
		}
	}
	for _, i := range c.untaggedMembers {
		if !everything {
			all = append(all, TagWrite{Location: i.Location, InstanceID: i.ID, Key: lease.TagRegistry, Value: c.Registry.UUID})
		}
	}
	slices.SortStableFunc(all, func(a, b TagWrite) int {
		if a.Soonest.IsZero() != b.Soonest.IsZero() {
			return map[bool]int{true: 1, false: -1}[a.Soonest.IsZero()]
		}
		return a.Soonest.Compare(b.Soonest)
	})
	return all
}

// tagsOf adds the tags that one instance lacks by its lease.
func (c *planner) tagsOf(l *Row, everything bool, all []TagWrite) []TagWrite {
	i := l.Instance
	if c.Policy.CompleteAdoptions && !everything && l.Completable(c.Now, i) {
		all = append(all, TagWrite{Location: i.Location, InstanceID: i.ID, Key: lease.TagRegistry, Value: c.Registry.UUID})
	}
	if l.State != lease.StateActive || !i.Alive() || !i.ManagedBy(c.Registry.UUID) || !l.Binds(*i) {
		return all
	}
	// What is pending may not show its volumes yet, and they bear the tag before it does.
	whole := i.State != lease.InstancePending || l.ClientToken == ""
	if leased := l.LeasedTag(); whole && i.Tags[lease.TagLeased] != leased && l.written.Leased != leased {
		w := TagWrite{Location: i.Location, InstanceID: i.ID, Key: lease.TagLeased, Value: leased}
		if l.ClientToken != "" { // what was adopted brought volumes that may be anybody's
			w.Attached = i.Attached
		}
		all = append(all, w)
	}
	switch {
	case l.keys.State != lease.TagBehind || l.keys.Earlier && everything:
	case c.over(l) && l.KeptSince.IsZero(): // the record must first say that the tag kept it, or it would not be marked first
	default:
		all = append(all, TagWrite{
			Location: i.Location, InstanceID: i.ID, Key: lease.TagExpires, Value: l.keys.Write.String(), Expires: l.keys.Write,
			Soonest: soonest(l.ExpiresAt, l.tag.At), Ahead: l.tag.Number > 0 && c.farAhead(l.tag.At) && c.farAhead(l.ExpiresAt),
		})
	}
	return all
}

// farAhead reports whether a date is more than an hour ahead; no date counts as far ahead.
func (c *planner) farAhead(date time.Time) bool {
	return date.IsZero() || date.Sub(c.Now) > time.Hour
}

// soonest is the earlier of two dates, of which zero is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// standsStill reports whether a brake holds everything back until a person releases it.
func (c *planner) standsStill() bool {
	for _, b := range c.brakes {
		if b.Standing() {
			return true
		}
	}
	return false
}

// behindItsTag raises the record of an active lease of which the tag is the newer word, or promises more than anybody has
// taken back. It reports whether it did.
func (c *planner) behindItsTag(l *Row) bool {
	if l.keys.State != lease.RecordBehind && l.keys.State != lease.RecordEarlier {
		return false
	}
	c.propose(l, ActRaise, fmt.Sprintf("its tag %s says %q: the record is older", lease.TagExpires, l.tag)).Tag = l.tag
	return true
}

// bothPassed reports whether record and tag of a lease have passed.
func (c *planner) bothPassed(l *Row) bool {
	return l.Instance != nil && c.over(l) && l.tag.Passed(c.Now, c.Policy.TermGrace)
}

// keptByTag decides about a lease whose date has passed on record and not on its instance's tag. It reports whether it did.
func (c *planner) keptByTag(l *Row, over string) bool {
	tag := l.tag
	if tag.Passed(c.Now, c.Policy.TermGrace) {
		return false
	}
	if tag.Number > 0 && !tag.At.IsZero() {
		c.wake(tag.At.Add(c.Policy.TermGrace))
	}
	c.kept(l, lease.KeptByTag, over+", but its tag "+lease.TagExpires+" "+tagWords(tag))
	return true
}

func tagWords(tag lease.Expiry) string {
	if tag.Number == 0 {
		return "has no valid date"
	}
	return "says " + strconv.Quote(tag.String())
}

// kept notes, or reports, what keeps an instance whose date has passed.
func (c *planner) kept(l *Row, why lease.KeptReason, reason string) {
	if l.KeptSince.IsZero() || l.KeptReason != why || l.Mark != nil && l.Mark.Cause == lease.CauseExpired {
		c.propose(l, ActKeep, reason).Kept = why
		return
	}
	c.propose(l, ActReport, reason)
}

// keptRevoked decides about a revoked lease that its instance's tag holds back. It reports whether it did.
func (c *planner) keptRevoked(l *Row) bool {
	tag := l.tag
	switch {
	case l.keys.State == lease.RecordBehind:
		reason := fmt.Sprintf("revoked (%s), but its tag %s says %q, which is newer than its record", l.Cause, lease.TagExpires, tag)
		if l.TagNumber != tag.Number {
			c.propose(l, ActNoteTag, reason).Tag = tag
		} else {
			c.propose(l, ActReport, reason+"; `lease revoke` terminates it")
		}
	case l.Cause == lease.CauseExpired && !tag.Passed(c.Now, c.Policy.TermGrace):
		c.stuck(l, lease.KeptByTag, "its tag "+lease.TagExpires+" "+tagWords(tag)+"; `lease revoke` terminates it")
	case l.Cause == lease.CauseFailedCreation && l.Instance.Leased():
		c.stuck(l, lease.KeptByTag, "its tag "+lease.TagLeased+" says that its lease was active; `lease unmanage` stops managing it")
	default:
		return false
	}
	return true
}

// stuck notes, or reports, what keeps the instance of a revoked lease.
func (c *planner) stuck(l *Row, why lease.KeptReason, reason string) {
	if l.Stuck != reason || l.KeptReason != why {
		c.propose(l, ActStuck, reason).Kept = why
		return
	}
	c.propose(l, ActReport, "stuck: "+reason)
}
