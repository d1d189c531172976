package cli

import (
	"bytes"
	"fmt"
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
	t.Setenv("LAPSE_CONFIG", write(t, "max-extend: file\ninterval: 1000000\nregion: [x-1, \"y-2, z-3\"]\netcd-cert: of status\n"))
	for name, c := range map[string]struct {
		line, variable string
		want           string
	}{
		"all three":             {"--max-extend line", "env", "line"},
		"environment and file":  {"", "env", "env"},
		"file alone":            {"", "", "file"},
		"command line and file": {"--max-extend line", "", "line"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.variable != "" {
				t.Setenv("LAPSE_MAX_EXTEND", c.variable)
			}
			var out, errs bytes.Buffer
			ran := false
			app := example(func(ctx *cli.Context) error {
				ran = true
				if got := ctx.String("max-extend"); got != c.want {
					t.Errorf("--max-extend is %q, want %q", got, c.want)
				}
				if got := ctx.Int("interval"); got != 1000000 {
					t.Errorf("--interval is %d, want that of the file", got)
				}
				if got := ctx.StringSlice("region"); !slices.Equal(got, []string{"x-1", "y-2", "z-3"}) {
					t.Errorf("--region is %q, want the list of the file", got)
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
func TestFlagsOfOneCallStandOnTheCommandLine(t *testing.T) {
	for variable, value := range map[string]string{"LAPSE_STRICT": "true", "LAPSE_COUNT": "3", "LAPSE_TERM": "1h", "LAPSE_LABEL": "a=b", "LAPSE_INTERVAL": "4"} {
		t.Setenv(variable, value)
	}
	for command := range map[string]bool{"extend": true, "status": true} {
		t.Run(command, func(t *testing.T) {
			var out, errs bytes.Buffer
			app := example(func(c *cli.Context) error {
				if c.Bool("strict") || c.Int("count") != 0 || c.String("term") != "" || len(c.StringSlice("label")) > 0 || c.Int("interval") != 4 {
					t.Errorf("strict %t, count %d, term %q, labels %q, interval %d", c.Bool("strict"), c.Int("count"), c.String("term"), c.StringSlice("label"), c.Int("interval"))
				}
				return nil
			})
			want := ""
			for _, flag := range []string{"count", "label", "strict", "term"} {
				want += fmt.Sprintf("app: warning: %s is set but ignored; give --%s on the command line each time\n", Variable(flag), flag)
			}
			if code := Run(t.Context(), app, strings.Fields("app "+command), &out, &errs); code != ExitDone || errs.String() != want {
				t.Errorf("exit code %d: %s", code, &errs)
			}
			_, stdout, _ := try(t, append(strings.Fields(command), "--help-all")...)
			if strings.Contains(stdout, "LAPSE_STRICT") || !strings.Contains(stdout, "LAPSE_MAX_EXTEND") {
				t.Errorf("help:\n%s", stdout)
			}
		})
	}
}

// A shared file may name the regions that janitors sweep: those of `lease list` concern one call.
func TestAFlagMayBeASettingInOneProgramAlone(t *testing.T) {
	file := write(t, "region: eu-west-1\n")
	for program, want := range map[string]int{"lease": 0, "janitor": 1} {
		var out, errs bytes.Buffer
		app := example(func(c *cli.Context) error {
			if got := len(c.StringSlice("region")); got != want {
				t.Errorf("%s has %d regions, want %d", program, got, want)
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
func TestOneFileServesAllPrograms(t *testing.T) {
	file := write(t, "max-extend: any\nrate-share: 1\nlease:\n  max-extend: 8h\njanitor:\n  mark-grace: 5m\nsidecar:\n")
	for program, want := range map[string]string{"lease": "8h", "sidecar": "any"} {
		var out, errs bytes.Buffer
		app := example(func(c *cli.Context) error {
			if c.String("max-extend") != want || c.Float64("rate-share") != 1 {
				t.Errorf("%s: --max-extend is %q, want %q; share %g", program, c.String("max-extend"), want, c.Float64("rate-share"))
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
		"- a list":                         "the --config file FILE is not a YAML map of flags: ",
		"max-extend: 1\nmax-extend: 2":     "the --config file FILE is not a YAML map of flags: ",
		"max-extend: 1h\n---\nregion: x-1": "the --config file FILE has more than one YAML document; ",
		"interval: plenty":                 "interval in FILE: \"plenty\" is not a whole decimal number, or too large; write a smaller one in digits\n",
		"ec2-unpaced: perhaps":             "ec2-unpaced in FILE: \"perhaps\" is neither true nor false; write one of them\n",
		"output: xml":                      "output in FILE: \"xml\": choose table, wide or json\n",
		"log_level: debug":                 "no flag \"log_level\" in FILE; did you mean log-level?\n",
		"o: json":                          "no flag \"o\" in FILE; did you mean output?\n",
		"mark-grace: 5m":                   "no flag \"mark-grace\" in FILE; put a flag that app does not have below the name of its program, as in \"janitor:\"\n",
		"config: other":                    "no flag \"config\" in FILE; put a flag that app ",
		"janitor: 5m":                      "janitor in FILE must be a map: the flags of janitor\n",
		"region: {a: b}":                   "region in FILE must be a plain value, or a list of such\n",
		"region: [[a-1]]":                  "region in FILE must be a plain value, or a list of such\n",
		"max-extend:":                      "max-extend in FILE must be a plain value, or a list of such\n",
		"region: [a-1, null]":              "region in FILE must be a plain value, or a list of such\n",
		"max-extend: [1h, 2h]":             "max-extend in FILE is a list, and --max-extend takes one value\n",
		"count: 3":                         "count in FILE is ignored; give --count on the command line each time\n",
		"strict: true":                     "strict in FILE is ignored; give --strict on the command line each time\n",
		"etcd-cert: {a: b}":                "etcd-cert in FILE must be a plain value, or a list of such\n", // of another command
	} {
		file := write(t, text)
		code, _, stderr := try(t, "extend", "--config", file)
		if want = "app: " + strings.ReplaceAll(want, "FILE", file); code != ExitUsage || !strings.HasPrefix(stderr, want) {
			t.Errorf("%q: exit code %d, stderr\n%swant\n%s", text, code, stderr, want)
		}
	}
}
