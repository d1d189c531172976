package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// example has the kinds of flags and commands that the three programs have.
func example(action cli.ActionFunc) *cli.App {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.StringFlag{Name: "for"}, &cli.IntFlag{Name: "count"}, &cli.StringSliceFlag{Name: "label"},
			&cli.BoolFlag{Name: "strict"}, OutputFlag(),
		}
	}
	return &cli.App{Name: "app", Reader: strings.NewReader(""), Commands: []*cli.Command{
		{Name: "extend", Flags: flags(), Action: action},
		{Name: "peers", Subcommands: []*cli.Command{{Name: "list", Flags: flags(), Action: action}}},
	}}
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, want string }{
		"before the arguments":         {"extend --for 4h i-1", "extend --for 4h -- i-1"},
		"after the arguments":          {"extend i-1 --for 4h", "extend --for 4h -- i-1"},
		"between the arguments":        {"extend i-1 --for 4h i-2", "extend --for 4h -- i-1 i-2"},
		"before the command":           {"--for 4h extend i-1", "extend --for 4h -- i-1"},
		"with an equals sign":          {"extend i-1 --for=4h i-2", "extend --for=4h -- i-1 i-2"},
		"with one dash":                {"extend i-1 -for 4h", "extend -for 4h -- i-1"},
		"by an alias":                  {"extend i-1 -o json", "extend -o json -- i-1"},
		"a switch takes no value":      {"extend --strict i-1", "extend --strict -- i-1"},
		"a negative number is a value": {"extend i-1 --count -3", "extend --count -3 -- i-1"},
		"so is a lone dash":            {"extend --for - i-1", "extend --for - -- i-1"},
		"a lone dash is an argument":   {"extend - --strict", "extend --strict -- -"},
		"after -- nothing is a flag":   {"extend --strict -- --for i-1", "extend --strict -- --for i-1"},
		"several times":                {"extend --label a=b i-1 --label c=d", "extend --label a=b --label c=d -- i-1"},
		"of a subcommand":              {"peers list x --for 4h", "peers list --for 4h -- x"},
		"no arguments":                 {"extend --for 4h", "extend --for 4h"},
		"an argument named as command": {"extend peers --strict", "extend --strict -- peers"},
		"no such command":              {"stretch extend", "stretch extend"},
		"unknown flags stay flags":     {"extend i-1 --bogus", "extend --bogus -- i-1"},
		"a flag without its value":     {"extend i-1 --for", "extend --for"},
		"help is not about arguments":  {"extend i-1 --help", "extend --help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := arrange(example(nil), strings.Fields("app "+c.line))
			if want := strings.Fields("app " + c.want); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestWhatAnActionGets(t *testing.T) {
	var out, errs bytes.Buffer
	app := example(func(c *cli.Context) error {
		for what, right := range map[string]bool{
			"the value of a flag after arguments": c.String("for") == "4h",
			"a list with its commas":              slices.Equal(c.StringSlice("label"), []string{"a=b,c", "d=e"}),
			"the arguments":                       slices.Equal(c.Args().Slice(), []string{"i-1", "--strict"}),
			"no more switches than were given":    !c.Bool("strict"),
			"what was given":                      Given(c, "strict", "label") && Given(c, "for"),
			"and what was not":                    !Given(c, "strict", "count"),
		} {
			if !right {
				t.Errorf("does not get %s", what)
			}
		}
		return nil
	})
	code := Run(t.Context(), app, strings.Fields("app extend i-1 --for=4h --label a=b,c --label d=e -- --strict"), &out, &errs)
	if code != ExitDone || errs.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &errs)
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestMistakesAreOneSentence(t *testing.T) {
	for line, want := range map[string]string{
		"extend --bogus":              "app: flag provided but not defined: -bogus; see `app extend --help`\n",
		"extend i-1 --for":            "app: flag needs an argument: -for; see `app extend --help`\n",
		"extend --count many":         "app: invalid value \"many\" for flag -count: parse error; see `app extend --help`\n",
		"stretch i-1":                 "app: no command \"stretch\"; see `app --help`\n",
		"extend -o xml":               "app: --output \"xml\": choose table or json\n",
		"extend --config missing.yml": "app: cannot read the --config file: open missing.yml: no such file or directory\n",
		"completion tcsh":             "app: no completion for \"tcsh\"; choose bash, zsh or fish\n",
	} {
		t.Run(line, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Run(t.Context(), example(func(*cli.Context) error { return nil }), strings.Fields("app "+line), &out, &errs)
			if code != ExitUsage || errs.String() != want || out.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr\n%swant\n%s", code, &out, &errs, want)
			}
		})
	}
}
