package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lapse/janitor/plan"
)

// TestPagesLeadWhereTheySay follows the links between the pages, and within each, as GitHub names headings.
func TestPagesLeadWhereTheySay(t *testing.T) {
	t.Parallel()
	followed := 0
	for _, from := range []string{"runbook.md", "README.md", "../README.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, from), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link[1], "#")
			to := from
			if file != "" {
				to = filepath.Join(filepath.Dir(from), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s leads to %s: %v", from, link[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s leads to %s, where no heading is named so", from, link[1])
			}
			followed++
		}
	}
	if followed < 30 {
		t.Errorf("only %d links were found", followed)
	}
}

// anchors are the names of a page's headings.
func anchors(page string) []string {
	var names []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")
		names = append(names, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(name, ""))
	}
	return names
}

// TestTheRunbookSpeaksOfAlertsThatThereAre also wants an entry for every brake of which an alert tells.
func TestTheRunbookSpeaksOfAlertsThatThereAre(t *testing.T) {
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

// TestTheTablesOfBrakesAreTheCodes: what engages a brake, what it holds and who releases it stands in the code, and the
// pages say the same.
func TestTheTablesOfBrakesAreTheCodes(t *testing.T) {
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
