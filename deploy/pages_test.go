package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are all that people read beside the code.
func pages() []string {
	return []string{
		"../README.md", "../SECURITY.md", "../CONTRIBUTING.md", "../CHANGELOG.md", "README.md", "contract.md", "runbook.md",
		"../cmd/internal/bench/README.md", "../cmd/internal/sim/README.md",
	}
}

// TestLinksOfPagesResolve follows the links between the pages, and within each, by the anchors that GitHub makes of headings.
func TestLinksOfPagesResolve(t *testing.T) {
	t.Parallel()
	followed := 0
	for _, from := range pages() {
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
				t.Errorf("%s links to %s: %v", from, link[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", from, link[1])
			}
			followed++
		}
	}
	if followed < 60 {
		t.Errorf("only %d links were found", followed)
	}
}

// anchors returns the anchors of a page's headings.
func anchors(page string) []string {
	var names []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")
		names = append(names, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(name, ""))
	}
	return names
}

// TestPagesUseTheWordsOfTheGlossary looks for words that once meant a term of the glossary, and for phrases that are not
// plain English. Alerts and the dashboard are read like pages.
func TestPagesUseTheWordsOfTheGlossary(t *testing.T) {
	t.Parallel()
	unwanted := regexp.MustCompile(`(?i)\b(silen(t|ces?|tly)|beats?|TTL|laps(es|ed|ing)|strangers?|pardon(s|ed)?|lift(s|ed|ing)?|mend(s|ed|ing)?` +
		`|anew|meanwhile|for ever|for want of|but for|since a day|lay aside|at (its|their) word|office|must live` +
		`|(is|are|was|were|be) held\b|brakes? (is|are) lifted|kills? (an|the) instance|ends? (an|the|its) instances?)\b`)
	for _, page := range append(pages(), rules, dashboard) {
		text := blank(read(t, page), "held back", "silence this alert")
		if filepath.Ext(page) == ".md" { // output, code, and the checker's findings in the simulator's table
			text = blank(text, "(?ms)^```.*?^```$", "`[^`\n]*`", "(?m)^(    |\t).*$", `(?m)^\| [a-z-]+ \| \d+ \|.*$`)
		}
		for n, line := range strings.Split(text, "\n") {
			if found := unwanted.FindString(line); found != "" {
				t.Errorf("%s:%d says %q: %s", page, n+1, found, strings.TrimSpace(line))
			}
		}
	}
}

// blank removes what matches from a page, and keeps its lines.
func blank(page string, quoted ...string) string {
	for _, pattern := range quoted {
		page = regexp.MustCompile(pattern).ReplaceAllStringFunc(page, func(text string) string {
			return strings.Repeat("\n", strings.Count(text, "\n"))
		})
	}
	return page
}

// TestReadmeIsShort keeps the page one that can be read in five minutes.
func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(read(t, "../README.md"), "\n"); lines > 200 {
		t.Errorf("the README has %d lines, want at most 200: move details to deploy/contract.md", lines)
	}
}

// TestReadmeShowsWhatTheDemoPrints wants every sentence of the demo's output, as the README shows it, in the demo's code.
func TestReadmeShowsWhatTheDemoPrints(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../cmd/internal/demo/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range files {
		code.WriteString(read(t, file))
	}
	shown := regexp.MustCompile("(?s)\\$ make demo\n…\n(.*?)```").FindStringSubmatch(read(t, "../README.md"))
	if shown == nil {
		t.Fatal("the README does not show what `make demo` prints")
	}
	varies := regexp.MustCompile(`^ *\d+\.\ds  |i-[0-9a-f]{17}|  +(terminated|running)  +`)
	for line := range strings.Lines(shown[1]) {
		for _, sentence := range varies.Split(strings.TrimRight(line, "\n"), -1) {
			sentence = strings.TrimSpace(sentence)
			if len(sentence) > 4 && !strings.HasPrefix(sentence, "INSTANCE") && !strings.Contains(code.String(), sentence) {
				t.Errorf("the README says that the demo prints %q; it does not", sentence)
			}
		}
	}
}
