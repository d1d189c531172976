package main

import (
	"fmt"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// tellKeys tells the number of the agreed date, and what the record says of the tag, the other key of that date.
func (a *account) tellKeys(l lease.Lease, t timeWords) {
	a.say("date", "The agreed date has number %d.", l.ExpiresNumber)
	if l.State == lease.StateActive && !l.KeptSince.IsZero() {
		a.say("kept", "Since %s it was kept by %s, although its date had passed; it is marked before it is terminated.",
			t.when(l.KeptSince), keptWords(l.KeptReason))
	}
	switch {
	case l.TagNumber > 0:
		a.say("tag", "Its tag %s is newer (number %d) than its record (number %d): the registry was set back, or somebody edited the tag. "+
			"Nothing ends it until `lease revoke %s`.", lease.TagExpires, l.TagNumber, l.ExpiresNumber, l.InstanceID)
	case l.State == lease.StateActive && l.ExpiresNumber > lease.MaxTagNumber:
		a.say("tag", "Its number is over %d, the last that the tag %s can bear, so no date ends it any more. `lease revoke %s` ends it.",
			lease.MaxTagNumber, lease.TagExpires, l.InstanceID)
	}
}

// compare tells what the tag says on the instance if that is not what the record says, and whether the instance is overdue.
func (k knowledge) compare(e *explanation, v plan.Verdict, t timeWords) {
	l, i := e.Lease, v.Instance
	if l == nil {
		e.Overdue = v.Overdue
		return
	}
	known := k.snapshot.Circumstances(t.now)
	if i == nil {
		k.overdue(e, known.Overdue(l, nil), lease.Instance{}, t)
		return
	}
	if i.Alive() && (l.State == lease.StateActive || l.State == lease.StateRevoked) {
		keys := lease.Compare(*l, i.Expiry())
		e.Tag, e.Keys = i.Tags[lease.TagExpires], keys.State
		if words := keyWords(keys, *l, *i); words != "" && i.ManagedBy(k.snapshot.Registry.UUID) {
			e.account.say("tag", "%s", words)
		}
	}
	k.overdue(e, known.Overdue(l, i), *i, t)
}

// keyWords tell what the tag of an instance says if that is not what its record says, and what becomes of that. What the
// record has to say of it by itself is told already.
func keyWords(keys lease.Keys, l lease.Lease, i lease.Instance) string {
	says := fmt.Sprintf("Its tag %s says %q", lease.TagExpires, i.Expiry())
	switch value, there := i.Tags[lease.TagExpires]; {
	case !there:
		says = "It bears no tag " + lease.TagExpires
	case i.Expiry().Number == 0:
		says = fmt.Sprintf("Its tag %s says %q, which is no date with a number, so it counts for nothing", lease.TagExpires, value)
	}
	switch {
	case keys.State == lease.TagBehind && l.State == lease.StateActive && keys.Earlier:
		return says + "; the tag is behind the record, whose date is earlier. The janitor writes it, unless the registry observes or a brake holds everything."
	case keys.State == lease.TagBehind && l.State == lease.StateActive:
		return says + "; the tag is behind the record. The janitor writes it, unless the registry observes. Nothing ends sooner by that."
	case keys.State == lease.RecordBehind && l.State == lease.StateActive:
		return says + ", which is newer than its record: the registry was set back, or somebody edited the tag. Nothing ends it by this record; the janitor raises it."
	case keys.State == lease.RecordBehind && l.TagNumber == 0:
		return says + fmt.Sprintf(", which is newer than its record: the registry was set back, or somebody edited the tag. Nothing ends it until `lease revoke %s`.", l.InstanceID)
	case keys.State == lease.RecordEarlier && l.State == lease.StateActive:
		return says + ", which is later than its record, and nobody has shortened it since. The janitor raises the record."
	}
	return ""
}

// mayEnd says from when on a marked lease may be taken away. A mark's deadline is the earliest date, and no promise: for
// a silence that nothing else of the zone contradicts, the janitor waits longer.
func mayEnd(m lease.Mark, now time.Time) string {
	switch left := m.Deadline.Sub(now); {
	case left <= 0:
		return "may end any moment"
	case left < 24*time.Hour:
		return "may end from " + m.Deadline.UTC().Format("15:04Z") + " on"
	}
	return "may end from " + m.Deadline.UTC().Format(time.RFC3339) + " on"
}

// markFact is what the record says of a mark. That of a lease that is over ends nothing more.
func markFact(l lease.Lease, t timeWords) string {
	fact := fmt.Sprintf("%s, since %s", l.Mark.Cause, t.when(l.Mark.Since))
	switch {
	case !l.Live():
		return fact
	case l.Mark.Deadline.After(t.now):
		return fmt.Sprintf("%s, may end %s or later", fact, t.when(l.Mark.Deadline))
	}
	return fact + ", may end any moment"
}

// markWords explain a mark: since when it is there, and when the instance is ended at the earliest.
func markWords(l lease.Lease, t timeWords) []string {
	m := *l.Mark
	words := []string{fmt.Sprintf("Notice was given %s.", t.when(m.Since))}
	lone := plan.DefaultPolicy().LoneGrace
	waits := m.Cause.Inferred() && t.now.Before(m.Deadline.Add(lone))
	switch {
	case m.Deadline.After(t.now) && waits:
		words = append(words, fmt.Sprintf("Its instance is ended %s at the earliest; up to %s later if nothing else of its zone is seen to renew.",
			t.exact(m.Deadline), brief(lone)))
	case m.Deadline.After(t.now):
		words = append(words, fmt.Sprintf("Its instance is ended %s at the earliest.", t.exact(m.Deadline)))
	case waits:
		words = append(words, fmt.Sprintf("Its instance may be ended any moment; until %s only if something else of its zone is seen to renew.",
			t.exact(m.Deadline.Add(lone))))
	default:
		words = append(words, "Its instance may be ended any moment.")
	}
	return words
}
