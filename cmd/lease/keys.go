package main

import (
	"fmt"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// tellKeys tells the number of the agreed date, and what the record says of the tag that holds the same date.
func (a *account) tellKeys(l lease.Lease, t timeWords) {
	a.say("date", "The agreed date has number %d.", l.ExpiresNumber)
	if l.State == lease.StateActive && !l.KeptSince.IsZero() {
		a.say("kept", "Since %s it has been kept by %s, although its lease has expired; it is marked before it is terminated.",
			t.when(l.KeptSince), keptWords(l.KeptReason))
	}
	switch {
	case l.TagNumber > 0:
		a.say("tag", "Its tag %s is newer (number %d) than its record (number %d): the registry was set back, or somebody edited the tag. "+
			"It is not terminated until `lease revoke %s`.", lease.TagExpires, l.TagNumber, l.ExpiresNumber, l.InstanceID)
	case l.State == lease.StateActive && l.ExpiresNumber > lease.MaxTagNumber:
		a.say("tag", "Its number is over %d, the highest that the tag %s can hold, so it is not terminated for its expiry. `lease revoke %s` terminates it.",
			lease.MaxTagNumber, lease.TagExpires, l.InstanceID)
	}
}

// compare tells what the tag of the instance says if it differs from the record, and whether the instance is overdue.
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

// keyWords tell what the tag of an instance says if it differs from the record, and what the janitor does about it.
func keyWords(keys lease.Keys, l lease.Lease, i lease.Instance) string {
	says := fmt.Sprintf("Its tag %s says %q", lease.TagExpires, i.Expiry())
	switch value, there := i.Tags[lease.TagExpires]; {
	case !there:
		says = "It bears no tag " + lease.TagExpires
	case i.Expiry().Number == 0:
		says = fmt.Sprintf("Its tag %s says %q, which is not a date with a number, so it is ignored", lease.TagExpires, value)
	}
	switch {
	case keys.State == lease.TagBehind && l.State == lease.StateActive && keys.Earlier:
		return says + "; the tag is behind the record, whose date is earlier. The janitor updates the tag, unless the registry observes or a brake holds everything back."
	case keys.State == lease.TagBehind && l.State == lease.StateActive:
		return says + "; the tag is behind the record. The janitor updates the tag, unless the registry observes. That terminates nothing earlier."
	case keys.State == lease.RecordBehind && l.State == lease.StateActive:
		return says + ", which is newer than its record: the registry was set back, or somebody edited the tag. This record terminates nothing; the janitor raises it to the date of the tag."
	case keys.State == lease.RecordBehind && l.TagNumber == 0:
		return says + fmt.Sprintf(", which is newer than its record: the registry was set back, or somebody edited the tag. It is not terminated until `lease revoke %s`.", l.InstanceID)
	case keys.State == lease.RecordEarlier && l.State == lease.StateActive:
		return says + ", which is later than its record, and nobody has shortened it since. The janitor raises the record."
	}
	return ""
}

// mayEnd says from when on a marked instance may be terminated. A mark's deadline is the earliest date: for a lost
// heartbeat, the janitor waits longer if no other instance in the zone renews.
func mayEnd(m lease.Mark, now time.Time) string {
	switch left := m.Deadline.Sub(now); {
	case left <= 0:
		return "may be terminated at any moment"
	case left < 24*time.Hour:
		return "may be terminated after " + m.Deadline.UTC().Format("15:04Z")
	}
	return "may be terminated after " + m.Deadline.UTC().Format(time.RFC3339)
}

// markFact is what the record says of a mark. The mark of a lease that is not valid terminates nothing.
func markFact(l lease.Lease, t timeWords) string {
	fact := fmt.Sprintf("%s, since %s", l.Mark.Cause, t.when(l.Mark.Since))
	switch {
	case !l.Live():
		return fact
	case l.Mark.Deadline.After(t.now):
		return fmt.Sprintf("%s, may be terminated after %s", fact, t.when(l.Mark.Deadline))
	}
	return fact + ", may be terminated at any moment"
}

// markWords explain a mark: since when it is there, and when the instance is terminated at the earliest.
func markWords(l lease.Lease, t timeWords) []string {
	m := *l.Mark
	words := []string{fmt.Sprintf("It was marked %s.", t.when(m.Since))}
	lone := plan.DefaultPolicy().LoneGrace
	waits := m.Cause.Inferred() && t.now.Before(m.Deadline.Add(lone))
	switch {
	case m.Deadline.After(t.now) && waits:
		words = append(words, fmt.Sprintf("It is terminated %s at the earliest; up to %s later if no other instance in its zone is renewing.",
			t.exact(m.Deadline), brief(lone)))
	case m.Deadline.After(t.now):
		words = append(words, fmt.Sprintf("It is terminated %s at the earliest.", t.exact(m.Deadline)))
	case waits:
		words = append(words, fmt.Sprintf("It may be terminated at any moment; until %s only if another instance in its zone is renewing.",
			t.exact(m.Deadline.Add(lone))))
	default:
		words = append(words, "It may be terminated at any moment.")
	}
	return words
}
