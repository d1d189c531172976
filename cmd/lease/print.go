package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// soon is how long before its expiry a lease is coloured.
const soon = time.Hour

// printLeases prints leases for people, with name and type from the requests of their launches, if those are on record.
func printLeases(c *ucli.Context, leases []lease.Lease, launches []lease.Launch, known lease.Circumstances) error {
	now := time.Now()
	sheet := cli.Sheet{Toned: "EXPIRES", Columns: []cli.Column{
		{Head: "INSTANCE"},
		{Head: "STATE"},
		{Head: "HOLDER", Rank: 1, Cut: true},
		{Head: "NAME", Rank: 5, Cut: true, More: true},
		{Head: "TYPE", Rank: 4, More: true},
		{Head: "ZONE", Rank: 3},
		{Head: "EXPIRES"},
		{Head: "LAUNCH", Rank: 6},
	}}
	wide := c.String("output") == "wide"
	if wide {
		sheet.Columns = append(sheet.Columns, cli.Column{Head: "REGION"}, cli.Column{Head: "DATE"}, cli.Column{Head: "LABELS"})
	}
	sheet.Columns = append(sheet.Columns, cli.Column{Head: "NOTE", Rank: 2, Fold: true, Below: true})
	asked := requestsOf(launches)
	for _, l := range leases {
		row := []string{
			l.InstanceID, string(l.State), dash(l.Holder), dash(asked[l.ClientToken].name), dash(asked[l.ClientToken].kind),
			dash(cmp.Or(l.Zone, l.Region)), expires(l, now), dash(l.Launch),
		}
		if wide {
			row = append(row, dash(l.Region), date(l), dash(labels(l.Labels)))
		}
		row = append(row, dash(note(l, known, now)))
		sheet.Rows, sheet.Tones = append(sheet.Rows, row), append(sheet.Tones, tone(l, now))
	}
	return sheet.Print(c, c.App.Writer)
}

// tone is red for a lease that may be terminated at any moment, and yellow for one that expires soon.
func tone(l lease.Lease, now time.Time) cli.Tone {
	switch {
	case !l.Live():
		return cli.Plain
	case l.Mark != nil, l.Over(now, 0):
		return cli.Red
	case l.Over(now.Add(soon), 0):
		return cli.Yellow
	}
	return cli.Plain
}

func date(l lease.Lease) string {
	if !l.Live() || l.ExpiresAt.IsZero() {
		return "-"
	}
	return l.ExpiresAt.UTC().Format(time.RFC3339)
}

type requested struct{ kind, name string }

// requestsOf are what launches asked for, by client token.
func requestsOf(launches []lease.Launch) map[string]requested {
	asked := map[string]requested{}
	for _, l := range launches {
		var r struct {
			InstanceType      string
			TagSpecifications []struct {
				ResourceType string
				Tags         []struct{ Key, Value string }
			}
		}
		_ = json.Unmarshal(l.Request, &r) // the columns stay empty for a record without a request
		name := ""
		for _, specification := range r.TagSpecifications {
			for _, tag := range specification.Tags {
				if specification.ResourceType == "instance" && tag.Key == "Name" {
					name = tag.Value
				}
			}
		}
		for _, a := range l.Attempts {
			asked[a.ClientToken] = requested{cmp.Or(a.InstanceType, r.InstanceType), name}
		}
	}
	return asked
}

func printIDs(c *ucli.Context, leases []lease.Lease) error {
	for _, l := range leases {
		if _, err := fmt.Fprintln(c.App.Writer, l.InstanceID); err != nil {
			return err
		}
	}
	return nil
}

// byEnd sorts leases by expiry. Those without an expiry come after them, and ended or unmanaged ones last.
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

// expires is when a lease expires, if it is valid.
func expires(l lease.Lease, now time.Time) string {
	switch {
	case !l.Live():
		return "-"
	case l.ExpiresAt.IsZero():
		return "never"
	}
	return cli.Away(l.ExpiresAt.Sub(now))
}

// note says what else matters about a lease.
func note(l lease.Lease, known lease.Circumstances, now time.Time) string {
	var notes []string
	if l.Cause != "" {
		notes = append(notes, string(l.Cause))
	}
	switch {
	case l.Stuck != "":
		notes = append(notes, "stuck: "+l.Stuck)
	case l.Mark != nil && l.Live():
		notes = append(notes, fmt.Sprintf("marked (%s), %s", l.Mark.Cause, mayEnd(*l.Mark, now)))
	}
	if l.Incomplete(now) {
		notes = append(notes, "adopted, but lacks its tag")
	}
	if o := known.Overdue(&l, nil); o.Reason != "" && o.Reason != lease.KeptStuck { // the notes say that already
		notes = append(notes, overdueWords(o))
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
