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

// write makes a --config file.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lapse.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Not parallel: it sets the environment, and urfave/cli keeps settings of an app in variables of its own.
func TestCommandLineBeforeEnvironmentBeforeFile(t *testing.T) {
	t.Setenv("LAPSE_CONFIG", write(t, "term: file\ncount: 1000000\nlabel: [x=1, \"y=2,3\"]\netcd-cert: of status\n"))
	for name, c := range map[string]struct {
		line, variable string
		want           string
	}{
		"all three":             {"--term line", "env", "line"},
		"environment and file":  {"", "env", "env"},
		"file alone":            {"", "", "file"},
		"command line and file": {"--term line", "", "line"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv("LAPSE_TERM", c.variable)
			}
			var out, errs bytes.Buffer
			ran := false
			app := example(func(ctx *cli.Context) error {
				ran = true
				if got := ctx.String("term"); got != c.want {
					t.Errorf("--term is %q, want %q", got, c.want)
				}
				if got := ctx.Int("count"); got != 1000000 {
					t.Errorf("--count is %d, want that of the file", got)
				}
				if got := ctx.StringSlice("label"); !slices.Equal(got, []string{"x=1", "y=2,3"}) {
					t.Errorf("--label is %q, want the list of the file", got)
				}
				if Given(ctx, "term") != (c.line != "") {
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

// Not parallel: it sets the environment.
func TestFlagsOfOneInvocationStandOnTheCommandLine(t *testing.T) {
	t.Setenv("LAPSE_STRICT", "true")
	t.Setenv("LAPSE_FOR", "4h")
	t.Setenv("LAPSE_LABEL", "a=b")
	for command, labels := range map[string]int{"extend": 1, "peers list": 0} {
		t.Run(command, func(t *testing.T) {
			var out, errs bytes.Buffer
			app := example(func(c *cli.Context) error {
				if c.Bool("strict") || c.String("for") != "" || len(c.StringSlice("label")) != labels {
					t.Errorf("strict %t, for %q, labels %q", c.Bool("strict"), c.String("for"), c.StringSlice("label"))
				}
				return nil
			})
			if code := Run(t.Context(), app, strings.Fields("app "+command), &out, &errs); code != ExitDone {
				t.Errorf("exit code %d: %s", code, &errs)
			}
			_, stdout, _ := try(t, append(strings.Fields(command), "--help")...)
			if strings.Contains(stdout, "LAPSE_STRICT") || !strings.Contains(stdout, "LAPSE_TERM") {
				t.Errorf("help:\n%s", stdout)
			}
		})
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestOneFileServesAllPrograms(t *testing.T) {
	file := write(t, "term: any\nshare: 1\nlease:\n  term: 8h\njanitor:\n  mark-grace: 5m\nsidecar:\n")
	for program, want := range map[string]string{"lease": "8h", "sidecar": "any"} {
		var out, errs bytes.Buffer
		app := example(func(c *cli.Context) error {
			if c.String("term") != want || c.Float64("share") != 1 {
				t.Errorf("%s: --term is %q, want %q; share %g", program, c.String("term"), want, c.Float64("share"))
			}
			return nil
		})
		app.Name = program
		if code := Run(t.Context(), app, []string{program, "extend", "--config", file}, &out, &errs); code != ExitDone {
			t.Errorf("%s: exit code %d: %s", program, code, &errs)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestConfigFileThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"- a list":          "the --config file FILE is not a YAML map of flags: ",
		"term: 1\nterm: 2":  "the --config file FILE is not a YAML map of flags: ",
		"count: plenty":     "count in FILE: \"plenty\" is not a number\n",
		"quiet: perhaps":    "quiet in FILE: \"perhaps\" is neither true nor false\n",
		"output: xml":       "in FILE: --output \"xml\": choose table or json\n",
		"log_level: debug":  "no flag \"log_level\" in FILE; did you mean log-level?\n",
		"o: json":           "no flag \"o\" in FILE; did you mean output?\n",
		"mark-grace: 5m":    "no flag \"mark-grace\" in FILE; one that app does not have goes below the name of the program that has it, as in \"janitor:\"\n",
		"config: other":     "no flag \"config\" in FILE; one that app ",
		"janitor: 5m":       "janitor in FILE must be a map: the flags of janitor\n",
		"label: {a: b}":     "label in FILE must be a plain value, or a list of such\n",
		"label: [[a=b]]":    "label in FILE must be a plain value, or a list of such\n",
		"term:":             "term in FILE must be a plain value, or a list of such\n",
		"term: [1h, 2h]":    "term in FILE is a list, and --term takes one value\n",
		"strict: true":      "strict in FILE does not count; say --strict on the command line each time\n",
		"etcd-cert: {a: b}": "etcd-cert in FILE must be a plain value, or a list of such\n", // of another command
	} {
		file := write(t, text)
		code, _, stderr := try(t, "extend", "--config", file)
		if want = "app: " + strings.ReplaceAll(want, "FILE", file); code != ExitUsage || !strings.HasPrefix(stderr, want) {
			t.Errorf("%q: exit code %d, stderr\n%swant\n%s", text, code, stderr, want)
		}
	}
}
