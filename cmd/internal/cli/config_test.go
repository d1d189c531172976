package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Not parallel: it sets the environment, and urfave/cli keeps settings of an app in variables of its own.
func TestCommandLineBeforeEnvironmentBeforeFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lapse.yaml")
	if err := os.WriteFile(file, []byte("for: file\ncount: 7\nlabel: [x=1, \"y=2,3\"]\nunknown: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAPSE_CONFIG", file)
	for name, c := range map[string]struct {
		line, variable string
		want           string
	}{
		"all three":             {"--for line", "env", "line"},
		"environment and file":  {"", "env", "env"},
		"file alone":            {"", "", "file"},
		"command line and file": {"--for line", "", "line"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv("LAPSE_FOR", c.variable)
			}
			var out, errs bytes.Buffer
			ran := false
			app := example(func(ctx *cli.Context) error {
				ran = true
				if got := ctx.String("for"); got != c.want {
					t.Errorf("--for is %q, want %q", got, c.want)
				}
				if got := ctx.Int("count"); got != 7 {
					t.Errorf("--count is %d, want that of the file", got)
				}
				if got := ctx.StringSlice("label"); !slices.Equal(got, []string{"x=1", "y=2,3"}) {
					t.Errorf("--label is %q, want the list of the file", got)
				}
				if Given(ctx, "for") != (c.line != "") {
					t.Error("Given does not tell the command line from the rest")
				}
				return nil
			})
			if code := Run(t.Context(), app, strings.Fields("app extend "+c.line), &out, &errs); code != ExitDone || !ran {
				t.Errorf("exit code %d, ran %t: %s", code, ran, &errs)
			}
		})
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestConfigFileThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"- a list":      "is not a YAML map of flags",
		"count: plenty": "count in the --config file",
	} {
		file := filepath.Join(t.TempDir(), "lapse.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		app := example(func(*cli.Context) error { return nil })
		code := Run(t.Context(), app, []string{"app", "extend", "--config", file}, &out, &errs)
		if code != ExitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit code %d, stderr %q, want %q", text, code, &errs, want)
		}
	}
}
