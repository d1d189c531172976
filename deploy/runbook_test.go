package deploy_test

import (
	"regexp"
	"strings"
	"testing"

	"lapse/janitor/plan"
)

// TestTheRunbookMentionsOnlyExistingAlerts also requires an entry for every brake that an alert reports.
func TestTheRunbookMentionsOnlyExistingAlerts(t *testing.T) {
	t.Parallel()
	book := read(t, "runbook.md")
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
		if strings.HasPrefix(a.Alert, "LapseBrake") && !strings.Contains(book, "`"+a.Alert+"`") {
			t.Errorf("the runbook says nothing of %s", a.Alert)
		}
	}
	for _, name := range regexp.MustCompile("`(Lapse[A-Za-z]+)`").FindAllStringSubmatch(book, -1) {
		if !known[name[1]] {
			t.Errorf("the runbook speaks of %s, which is no alert", name[1])
		}
	}
}

// TestTheTablesOfBrakesMatchTheCode: what engages a brake, what it holds and who releases it stands in the code, and the
// pages say the same.
func TestTheTablesOfBrakesMatchTheCode(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"runbook.md", "../README.md"} {
		text := read(t, page)
		for _, b := range plan.BrakeRules() {
			name := regexp.QuoteMeta("`" + b.Name + "`")
			row := regexp.MustCompile(`(?m)^\| \[?` + name + `(?:\]\([^)]*\))? \| (.*)$`).FindStringSubmatch(text)
			if want := strings.Join([]string{b.Engages, b.Holds, b.Released}, " | "); row == nil || !strings.HasPrefix(row[1], want+" |") {
				t.Errorf("%s says of the brake %s %q, and the code %q", page, b.Name, row, want)
			}
		}
	}
}
