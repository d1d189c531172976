package main

import (
	"fmt"
	"strings"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// count is a number of things: "1 instance", "3 instances".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// times is how often something was done.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// listedMost is how many ids a question names.
const listedMost = 10

// some names the first ids, and says how many more there are.
func some(ids []string) string {
	if more := len(ids) - listedMost; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:listedMost], ", "), more)
	}
	return strings.Join(ids, ", ")
}

// brief prints a duration as people write it: 90s, 2m, 8h, 10d.
func brief(d time.Duration) string {
	const day = 24 * time.Hour
	if d > day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func orNone(d lease.Duration) string {
	if d == 0 {
		return "none"
	}
	return brief(time.Duration(d))
}

// teller puts times into words.
type teller struct {
	now      time.Time
	absolute bool // dates alone: programs keep a text for longer than "in 5m" is true
}

func (t teller) when(at time.Time) string {
	if t.absolute && !at.IsZero() {
		return at.UTC().Format(time.RFC3339)
	}
	return cli.When(at, t.now)
}

// untilArmed is what must be run before janitors end anything; empty if they do already.
func untilArmed(r lease.Registry) string {
	switch {
	case r.Mode == lease.ModeArmed:
		return ""
	case r.Mode != lease.ModePaused:
		return "`janitor arm`"
	case r.Before == lease.ModeArmed:
		return "`janitor resume`"
	}
	return "`janitor resume` and `janitor arm`"
}
