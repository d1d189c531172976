package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// OutputFlag chooses between tables and JSON.
func OutputFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "print as `FORM`: table, wide or json",
	}
}

// JSON prints the value for programs.
func JSON(c *cli.Context, value any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// WantsJSON reports whether JSON was asked for.
func WantsJSON(c *cli.Context) bool { return c.String("output") == "json" }

// Show prints the value for programs if JSON is asked for, and otherwise what forPeople prints.
func Show(c *cli.Context, value any, forPeople func() error) error {
	if WantsJSON(c) {
		return JSON(c, value)
	}
	return forPeople()
}

func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// visibleLines is visible of each line: for errors, which may quote what another machine said.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		lines[n] = visible(line)
	}
	return strings.Join(lines, "\n")
}

// Say prints a line for people to stderr.
func Say(c *cli.Context, format string, args ...any) {
	_ = Prose(c.App.ErrWriter, fmt.Sprintf(format, args...))
}

// Prose prints sentences for people, on a terminal folded to its width.
func Prose(w io.Writer, text string) error {
	width, _ := screen(w)
	return prose(w, width, text)
}

func prose(w io.Writer, width int, text string) error {
	lines := strings.Split(text, "\n")
	if width > 0 {
		folded := []string{}
		for _, line := range lines {
			folded = append(folded, fold(line, width)...)
		}
		lines = folded
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// Confirm asks on a terminal, and requires --yes without one. What the question shows is old by the time a person has
// answered: again checks it once more, and refuses if the answer no longer applies. A signal to stop counts as no.
func Confirm(c *cli.Context, question string, again func() error) error {
	if c.Bool("yes") {
		return nil
	}
	return Ask(c, question, "use --yes to confirm", again)
}

// Ask is [Confirm] for questions that --yes does not answer. otherwise says what to do without a terminal.
func Ask(c *cli.Context, question, otherwise string, again func() error) error {
	if !isTerminal(c.App.Reader) {
		return Usage("%s: there is no terminal to ask on; %s", question, otherwise)
	}
	Say(c, "%s? [y/N]", question)
	line, err := Await(c.Context, func() (string, error) { return bufio.NewReader(c.App.Reader).ReadString('\n') })
	switch {
	case c.Err() != nil:
		return WithCode(ExitRefused, fmt.Errorf("stopped before an answer was given; nothing was done"))
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return WithCode(ExitRefused, fmt.Errorf("not confirmed; nothing was done"))
	}
	return again()
}

// Outdated refuses because something has changed since the question was asked.
func Outdated(format string, args ...any) error {
	return WithCode(ExitRefused, fmt.Errorf("%s since you were asked; nothing was done; run it again", fmt.Sprintf(format, args...)))
}

// YesFlag answers what would be asked on a terminal.
func YesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// WhoSet says who set the registry's mode, and why: "by cli:ada@laptop (incident 4711)". It is empty if neither is on record.
func WhoSet(r lease.Registry) string {
	var words []string
	if r.ModeBy != "" {
		words = append(words, "by "+visible(r.ModeBy))
	}
	if r.ModeReason != "" {
		words = append(words, "("+visible(r.ModeReason)+")")
	}
	return strings.Join(words, " ")
}

// UntilArmed is the command that must be run before janitors terminate anything; empty if they already do.
func UntilArmed(r lease.Registry) string {
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

// ReasonFlag asks why something is done, for readers of that record.
func ReasonFlag(where string) cli.Flag {
	return &cli.StringFlag{
		Name: "reason", Usage: "record `WHY` in " + where,
		Action: func(_ *cli.Context, reason string) error { return lease.CheckReason(reason) },
	}
}
