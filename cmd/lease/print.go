package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// printLeases prints leases for people.
func printLeases(c *ucli.Context, leases []lease.Lease, known lease.Circumstances) error {
	now := time.Now()
	rows := [][]string{{"INSTANCE", "STATE", "HOLDER", "ZONE", "EXPIRES", "NOTE", "LAUNCH"}}
	for _, l := range leases {
		rows = append(rows, []string{
			l.InstanceID, string(l.State), dash(l.Holder), dash(cmp.Or(l.Zone, l.Region)), expires(l, now), dash(note(l, known, now)), dash(l.Launch),
		})
	}
	return cli.Table(c.App.Writer, rows)
}

func printIDs(c *ucli.Context, leases []lease.Lease) error {
	for _, l := range leases {
		if _, err := fmt.Fprintln(c.App.Writer, l.InstanceID); err != nil {
			return err
		}
	}
	return nil
}

// byEnd sorts leases by what ends first; those without a term come after them, and what has ended, or is no longer managed,
// last of all.
func byEnd(leases []lease.Lease) {
	gone := func(l lease.Lease) bool { return l.State == lease.StateEnded || l.State == lease.StateUnmanaged }
	slices.SortFunc(leases, func(a, b lease.Lease) int {
		switch {
		case gone(a) && !gone(b):
			return 1
		case gone(b) && !gone(a):
			return -1
		}
		if a.ExpiresAt.IsZero() != b.ExpiresAt.IsZero() {
			return b.ExpiresAt.Compare(a.ExpiresAt)
		}
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.InstanceID, b.InstanceID))
	})
}

// expires is when the term ends. A lease that is over has none any more.
func expires(l lease.Lease, now time.Time) string {
	switch {
	case !l.Live():
		return "-"
	case l.ExpiresAt.IsZero():
		return "never"
	}
	return cli.Away(l.ExpiresAt.Sub(now))
}

// note is what there is to know of a lease beside its state and its term.
func note(l lease.Lease, known lease.Circumstances, now time.Time) string {
	var notes []string
	switch {
	case l.Stuck != "":
		notes = append(notes, "stuck: "+l.Stuck)
	case l.Mark != nil && l.Live():
		notes = append(notes, fmt.Sprintf("marked (%s), %s", l.Mark.Cause, mayEnd(*l.Mark, now)))
	}
	if o := known.Overdue(&l, nil); o.Reason != "" && o.Reason != lease.KeptStuck { // which is said already
		notes = append(notes, overdueWords(o))
	}
	if l.Cause != "" {
		notes = append(notes, string(l.Cause))
	}
	return strings.Join(notes, ", ")
}

func dash(s string) string { return cmp.Or(s, "-") }

func sorted(ids map[string]bool) []string { return slices.Sorted(maps.Keys(ids)) }

// labels prints pairs as they are given: key=value, in order.
func labels(pairs map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		texts = append(texts, key+"="+pairs[key])
	}
	return strings.Join(texts, " ")
}
