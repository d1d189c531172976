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
			&cli.StringFlag{Name: "for", Usage: "`DURATION` from now"}, &cli.StringFlag{Name: "term"},
			&cli.IntFlag{Name: "count"}, &cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE`"},
			&cli.BoolFlag{Name: "strict"}, &cli.BoolFlag{Name: "quiet"}, OutputFlag(),
			&cli.StringFlag{Name: "max-extend"}, &cli.IntFlag{Name: "interval"}, &cli.Float64Flag{Name: "rate-share"},
			&cli.BoolFlag{Name: "ec2-unpaced"}, &cli.StringSliceFlag{Name: "region"},
			&cli.StringFlag{Name: "hidden-figure", Hidden: true},
		}
	}
	return &cli.App{Name: "app", Version: "v1", Reader: strings.NewReader(""), Commands: []*cli.Command{
		{Name: "extend", Usage: "move a date", ArgsUsage: "ID…", Flags: flags(), Action: action},
		{Name: "status", Usage: "say how it is", Flags: append(append(flags(), StoreFlags()...), LogFlags()...), Action: action},
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
		"no arguments":                 {"extend --for 4h", "extend --for 4h"},
		"an argument named as command": {"extend status --strict", "extend --strict -- status"},
		"no such command":              {"stretch extend", "stretch extend"},
		"unknown flags stay flags":     {"extend i-1 --bogus", "extend --bogus -- i-1"},
		"but may be a value":           {"extend --for --help i-1", "extend --for --help -- i-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := example(nil)
			prepare(app)
			l := read(app, strings.Fields("app "+c.line))
			got := l.arranged(nil)
			if want := strings.Fields("app " + c.want); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestArgumentsAndFlagsThatAnActionGets(t *testing.T) {
	var out, errs bytes.Buffer
	app := example(func(c *cli.Context) error {
		for what, right := range map[string]bool{
			"the value of a flag after arguments": c.String("for") == "4h",
			"a list with its commas":              slices.Equal(c.StringSlice("label"), []string{"a=b,c", "d=e"}),
			"the arguments":                       slices.Equal(c.Args().Slice(), []string{"i-1", "--strict"}),
			"no more switches than were given":    !c.Bool("strict"),
			"what was given":                      c.IsSet("label") && c.IsSet("for"),
			"and what was not":                    !c.IsSet("strict") && !c.IsSet("count") && !c.IsSet("quiet"),
		} {
			if !right {
				t.Errorf("does not get %s", what)
			}
		}
		return nil
	})
	code := Run(t.Context(), app, strings.Fields("app extend i-1 --for=4h --label a=b,c --label d=e --term --quiet -- --strict"), &out, &errs)
	if code != ExitDone || errs.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &errs)
	}
}
