package main

import (
	"fmt"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// moved is the result of one extension as printed for programs, with the fields of a sidecar's answer.
type moved struct {
	Asked   time.Time `json:"asked,omitzero"`   // the request as a date; absent: only the maximum was to move
	Before  time.Time `json:"before,omitzero"`  // the expiry before; absent: none
	Granted time.Time `json:"granted,omitzero"` // the expiry now; absent: none
	Clamped bool      `json:"clamped"`          // less was granted than requested
	// Maximum is set if the maximum was to move, with the date before and now; absent: none.
	Maximum *movedLimit `json:"max_term,omitempty"`
	Lease   lease.Lease `json:"lease"`
}

// movedLimit is the maximum before and after it was moved.
type movedLimit struct {
	Before  time.Time `json:"max_expires_before,omitzero"`
	Granted time.Time `json:"max_expires_at,omitzero"`
}

func movedBy(e lease.Extension, before, after lease.Lease) moved {
	m := moved{Asked: e.Until, Before: before.ExpiresAt, Granted: after.ExpiresAt, Lease: after}
	m.Clamped = !m.Granted.IsZero() && m.Granted.Before(e.Until)
	if e.MoveMax {
		m.Maximum = &movedLimit{before.MaxExpiresAt, after.MaxExpiresAt}
	}
	return m
}

func (m moved) words(before lease.Lease, now time.Time) string {
	id, words := before.InstanceID, ""
	if !m.Asked.IsZero() {
		words = m.termWords(before, now)
	}
	if m.Maximum == nil {
		return words
	}
	limit := fmt.Sprintf("maximum %s → %s", cli.When(m.Maximum.Before, now), cli.When(m.Maximum.Granted, now))
	if m.Maximum.Before.Equal(m.Maximum.Granted) {
		limit = fmt.Sprintf("maximum already %s", cli.When(m.Maximum.Granted, now))
	}
	if words == "" {
		return id + " " + limit
	}
	return words + "; " + limit
}

func (m moved) termWords(before lease.Lease, now time.Time) string {
	words := fmt.Sprintf("%s %s → %s", before.InstanceID, cli.When(m.Before, now), cli.When(m.Granted, now))
	switch {
	case !m.Granted.Equal(m.Before):
		return words
	case m.Granted.IsZero():
		words = before.InstanceID + " has no expiry: its lease is valid until it is released"
	default:
		words = fmt.Sprintf("%s already lasts until %s", before.InstanceID, cli.When(m.Granted, now))
	}
	if m.Clamped {
		words += ", which is its maximum"
	}
	if before.Mark != nil && m.Lease.Mark == nil {
		words += fmt.Sprintf("; its mark (%s) is cancelled", before.Mark.Cause)
	}
	return words
}
