package main

import (
	"fmt"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

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
