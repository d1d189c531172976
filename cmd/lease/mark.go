package main

import (
	"fmt"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

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
