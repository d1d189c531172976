package main

import (
	"fmt"
	"io"
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

// timeWords puts times into words.
type timeWords struct {
	now      time.Time
	absolute bool // dates alone: a program may keep the text for longer than "in 5m" is true
}

func (t timeWords) when(at time.Time) string {
	if t.absolute && !at.IsZero() {
		return at.UTC().Format(time.RFC3339)
	}
	return cli.When(at, t.now)
}

// exact is a date that matters, also in local time if that differs from UTC.
func (t timeWords) exact(at time.Time) string {
	local := at.Local()
	if _, offset := local.Zone(); t.absolute || offset == 0 || at.IsZero() {
		return t.when(at)
	}
	return local.Format("2006-01-02 15:04 MST") + ", " + t.when(at)
}

// account is the explanation of one instance: the answer first, then one or more sentences about each aspect.
type account struct {
	lead    string
	aspects []aspect
}

type aspect struct{ about, text string }

func (a *account) say(about, format string, args ...any) {
	a.aspects = append(a.aspects, aspect{about, fmt.Sprintf(format, args...)})
}

// instead replaces what was said about one aspect.
func (a *account) instead(about, text string) {
	for n := range a.aspects {
		if a.aspects[n].about == about {
			a.aspects[n].text = text
		}
	}
}

// text is the whole account as prose.
func (a *account) text() string {
	texts := []string{a.lead}
	for _, one := range a.aspects {
		texts = append(texts, one.text)
	}
	return strings.Join(texts, " ")
}

// writeTo prints the account for people: the answer, and the aspects indented below it.
func (a *account) writeTo(w io.Writer) error {
	if err := cli.Prose(w, a.lead); err != nil {
		return err
	}
	rows := [][]string{}
	for _, one := range a.aspects {
		rows = append(rows, []string{"", one.about, one.text})
	}
	if err := cli.Table(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
