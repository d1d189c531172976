package plan

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"lapse/lease"
)

// raisedMemory is for how long a record that was behind its tag counts for the brake that says that the registry was set
// back.
const raisedMemory = time.Hour

// TagWrite is a tag that an instance is to bear, by its lease.
type TagWrite struct {
	Location   lease.Location
	InstanceID string
	Key, Value string
	// Attached are the volumes and interfaces that are to bear it first.
	Attached []string
	Expires  lease.Expiry // of the tag [lease.TagExpires]
	Soonest  time.Time    // the earlier of the dates that record and tag say: what passes soonest is written first; zero: neither passes
	Ahead    bool         // both dates are over an hour ahead: it may rest
}

// Written is what was written onto an instance since it was listed, and EC2 has taken.
type Written struct {
	Expires lease.Expiry // number 0: nothing
	Leased  string
}

// tagOf is the date on the tag of an instance, as far as it is known.
func (c *situation) tagOf(i *lease.Instance) lease.Expiry {
	if w := c.Written[i.ID]; w.Expires.Number > 0 {
		return w.Expires
	}
	return i.Expiry()
}

// tagWrites are the tags that instances lack by their leases. Never while observing: another registry's janitor, or none,
// may be what counts then.
func (c *situation) tagWrites() []TagWrite {
	if c.Snapshot.Registry.Mode == lease.ModeObserve {
		return nil
	}
	everything := c.standsStill()
	var all []TagWrite
	for n := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[n]
		i := c.instanceOf(l)
		if c.Policy.CompleteAdoptions && !everything && i != nil && l.Completable(c.Now, i) {
			all = append(all, TagWrite{Location: i.Location, InstanceID: i.ID, Key: lease.TagRegistry, Value: c.Snapshot.Registry.UUID})
		}
		if l.State != lease.StateActive {
			continue
		}
		if i == nil || !i.Alive() || !i.ManagedBy(c.Snapshot.Registry.UUID) || !l.Binds(*i) {
			continue
		}
		// What is pending may not show its volumes yet, and they bear the tag before it does.
		whole := i.State != lease.InstancePending || l.ClientToken == ""
		if leased := l.LeasedTag(); whole && i.Tags[lease.TagLeased] != leased && c.Written[i.ID].Leased != leased {
			w := TagWrite{Location: i.Location, InstanceID: i.ID, Key: lease.TagLeased, Value: leased}
			if l.ClientToken != "" { // what was adopted brought volumes that may be anybody's
				w.Attached = i.Attached
			}
			all = append(all, w)
		}
		tag := c.tagOf(i)
		keys := lease.Compare(*l, tag)
		switch {
		case keys.State != lease.TagBehind || keys.Earlier && everything:
		case c.over(l) && l.KeptSince.IsZero(): // first it must be on record that the tag kept it, or nobody would mark it first
		default:
			all = append(all, TagWrite{
				Location: i.Location, InstanceID: i.ID, Key: lease.TagExpires, Value: keys.Write.String(), Expires: keys.Write,
				Soonest: soonest(l.ExpiresAt, tag.At), Ahead: tag.Number > 0 && c.farAhead(tag.At) && c.farAhead(l.ExpiresAt),
			})
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

// farAhead reports whether a date is over an hour ahead; none is.
func (c *situation) farAhead(date time.Time) bool {
	return date.IsZero() || date.Sub(c.Now) > time.Hour
}

// soonest is the earlier of two dates, of which zero is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// standsStill reports whether a brake holds everything until a person has looked.
func (c *situation) standsStill() bool {
	for _, b := range c.brakes {
		if b.Standing() {
			return true
		}
	}
	return false
}

// behindItsTag raises the record of an active lease of which the tag is the newer word, or promises more than anybody has
// taken back. It reports whether it did.
func (c *situation) behindItsTag(l *lease.Lease, i *lease.Instance) bool {
	tag := c.tagOf(i)
	state := lease.Compare(*l, tag).State
	if state != lease.RecordBehind && state != lease.RecordEarlier {
		return false
	}
	c.say(l, ActRaise, fmt.Sprintf("its tag %s says %q: the record is older", lease.TagExpires, tag)).Tag = tag
	return true
}

// bothPassed reports whether record and tag of a lease have passed.
func (c *situation) bothPassed(l *lease.Lease, i *lease.Instance) bool {
	return i != nil && c.over(l) && c.tagOf(i).Passed(c.Now, c.Policy.TermGrace)
}

// keptByTag decides about a lease whose date has passed on record and not on its instance's tag. It reports whether it did.
func (c *situation) keptByTag(l *lease.Lease, i *lease.Instance, over string) bool {
	tag := c.tagOf(i)
	if tag.Passed(c.Now, c.Policy.TermGrace) {
		return false
	}
	if tag.Number > 0 && !tag.At.IsZero() {
		c.wake(tag.At.Add(c.Policy.TermGrace))
	}
	c.kept(l, lease.KeptByTag, over+", and its tag "+lease.TagExpires+" "+says(tag))
	return true
}

func says(tag lease.Expiry) string {
	if tag.Number == 0 {
		return "says nothing that counts"
	}
	return "says " + strconv.Quote(tag.String())
}

// kept notes, or reports, what keeps an instance whose date has passed.
func (c *situation) kept(l *lease.Lease, why lease.KeptReason, reason string) {
	if l.KeptSince.IsZero() || l.KeptReason != why || l.Mark != nil && l.Mark.Cause == lease.CauseExpired {
		c.say(l, ActKept, reason).Kept = why
		return
	}
	c.say(l, ActReport, reason)
}

// keptRevoked decides about a revoked lease that its instance's tag holds back. It reports whether it did.
func (c *situation) keptRevoked(l *lease.Lease, i *lease.Instance) bool {
	tag := c.tagOf(i)
	switch {
	case lease.Compare(*l, tag).State == lease.RecordBehind:
		reason := fmt.Sprintf("revoked (%s), but its tag %s says %q, which is newer than its record", l.Cause, lease.TagExpires, tag)
		if l.TagNumber != tag.Number {
			c.say(l, ActNoteTag, reason).Tag = tag
		} else {
			c.say(l, ActReport, reason+"; `lease revoke` ends it")
		}
	case l.Cause == lease.CauseExpired && !tag.Passed(c.Now, c.Policy.TermGrace):
		c.stuck(l, lease.KeptByTag, "its tag "+lease.TagExpires+" "+says(tag)+"; `lease revoke` ends it")
	case l.Cause == lease.CauseFailedCreation && i.Leased():
		c.stuck(l, lease.KeptByTag, "its tag "+lease.TagLeased+" says that its lease was active; `lease unmanage` lets it go")
	default:
		return false
	}
	return true
}

// stuck notes, or reports, what keeps the instance of a revoked lease.
func (c *situation) stuck(l *lease.Lease, why lease.KeptReason, reason string) {
	if l.Stuck != reason || l.KeptReason != why {
		c.say(l, ActStuck, reason).Kept = why
		return
	}
	c.say(l, ActReport, "stuck: "+reason)
}

// setBackByTags trips the brake that holds everything if tags say that the registry was set back to an older state: many
// records are behind theirs, or an instance that was leased has no record.
func (c *situation) setBackByTags() {
	lifted, unrecorded := time.Time{}, 0
	for _, said := range c.Snapshot.Registry.Resumed {
		if said.Name == lease.BrakeRollback && said.Scope == "" {
			lifted, unrecorded = latest(lifted, said.At), max(unrecorded, said.Count)
		}
	}
	behind, all := 0, 0
	for n := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[n]
		i := c.instanceOf(l)
		if l.State != lease.StateActive || i == nil || !i.Alive() || untouchable(c.Snapshot.Registry, l, i) != "" {
			continue
		}
		all++
		if lease.Compare(*l, c.tagOf(i)).State == lease.RecordBehind || c.raisedSince(l, lifted) {
			behind++
		}
	}
	if allowed := max(c.Policy.BehindMin, int(c.Policy.BehindShare*float64(all))); behind > allowed {
		c.stand(lease.BrakeRollback, fmt.Sprintf("%d of %d records were older than the tags of their instances within %s, more than %d",
			behind, all, raisedMemory, allowed))
	}
	if n := len(c.leasedUnrecorded); n > unrecorded {
		c.stand(lease.BrakeRollback, fmt.Sprintf("%d instances were leased by their tag %s, such as %s, and there is no record of them",
			n, lease.TagLeased, slices.Min(c.leasedUnrecorded)))
		c.tally(lease.BrakeRollback, "", n)
	}
}

// raisedSince reports whether the record of a lease was raised a short while ago, and after a date.
func (c *situation) raisedSince(l *lease.Lease, since time.Time) bool {
	return slices.ContainsFunc(l.History, func(h lease.Transition) bool {
		return h.Action == lease.ActionRaise && c.Now.Sub(h.Time).Abs() < raisedMemory && h.Time.After(since)
	})
}
