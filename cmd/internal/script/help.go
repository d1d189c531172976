package script

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
)

// helpLines is how many lines of help a screen has.
const helpLines = 50

// CheckHelp reads the help of every command of a program at several widths: no line is wider, and no word is broken. That
// of short fits a screen. It sets the environment, so that its test is not parallel.
func CheckHelp(t *testing.T, app func() *ucli.App, short ...string) {
	t.Helper()
	pages := []string{"--help", "--help-all"}
	for _, command := range app().Commands {
		pages = append(pages, command.Name+" --help", command.Name+" --help-all")
		for _, flag := range command.Flags {
			checkUsage(t, command.Name, flag)
		}
	}
	for _, page := range pages {
		wide := help(t, app, page, 10000)
		for _, width := range []int{80, 100, 120} {
			text := help(t, app, page, width)
			for line := range strings.Lines(text) {
				if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > width {
					t.Errorf("%s at %d columns: %q is wider", page, width, line)
				}
			}
			if !slices.Equal(strings.Fields(text), strings.Fields(wide)) {
				t.Errorf("%s at %d columns has other words than on a wide screen:\n%s", page, width, text)
			}
			if n := strings.Count(text, "\n"); n > helpLines && slices.Contains(short, page) {
				t.Errorf("%s at %d columns has %d lines, more than %d", page, width, n, helpLines)
			}
		}
	}
}

// checkUsage requires a short phrase that names the flag's value: urfave/cli calls it "value" otherwise.
func checkUsage(t *testing.T, command string, flag ucli.Flag) {
	t.Helper()
	documented, is := flag.(ucli.DocGenerationFlag)
	if !is || !documented.(ucli.VisibleFlag).IsVisible() {
		return
	}
	const most = 10
	usage := documented.GetUsage()
	if n := len(strings.Fields(usage)); n > most || documented.TakesValue() && strings.Count(usage, "`") != 2 {
		t.Errorf("%s --%s: %q has %d words, want at most %d, and the name of its value", command, flag.Names()[0], usage, n, most)
	}
}

func help(t *testing.T, app func() *ucli.App, page string, width int) string {
	t.Helper()
	t.Setenv("COLUMNS", fmt.Sprint(width))
	a := app()
	var out, said bytes.Buffer
	if code := cli.Run(t.Context(), a, append([]string{a.Name}, strings.Fields(page)...), &out, &said); code != cli.ExitDone || said.Len() > 0 {
		t.Fatalf("%s %s: exit code %d: %s", a.Name, page, code, &said)
	}
	return out.String()
}
