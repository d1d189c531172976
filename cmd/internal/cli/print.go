package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// OutputFlag chooses between tables and JSON.
func OutputFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORM` of the output: table or json",
		EnvVars: []string{"LAPSE_OUTPUT"},
		Action: func(_ *cli.Context, form string) error {
			if form != "" && form != "table" && form != "json" {
				return Usage("--output %q: choose table or json", form)
			}
			return nil
		},
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

// Table prints rows for people. The first row is the head.
func Table(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// Say prints a line for people to stderr.
func Say(c *cli.Context, format string, args ...any) {
	_, _ = fmt.Fprintf(c.App.ErrWriter, format+"\n", args...)
}

// Confirm asks on a terminal, and without one demands --yes.
func Confirm(c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	if in, ok := c.App.Reader.(*os.File); !ok || !term.IsTerminal(int(in.Fd())) {
		return Usage("%s: there is no terminal to ask on; say --yes if that is meant", question)
	}
	Say(c, "%s? [y/N]", question)
	line, err := bufio.NewReader(c.App.Reader).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return WithCode(ExitRefused, fmt.Errorf("not confirmed; nothing was done"))
	}
	return nil
}

// YesFlag answers what would be asked on a terminal.
func YesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

// Actor names who runs the command, for histories: "cli:ada@laptop".
func Actor() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return "cli:" + name + "@" + host
}
