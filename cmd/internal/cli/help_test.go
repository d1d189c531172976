package cli

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// manual is a program with one command, whose flags are of all kinds.
func manual() *cli.App {
	return &cli.App{Name: "app", Usage: "show how help looks", Version: "v1", Commands: []*cli.Command{{
		Name: "run", Usage: "go", Description: "A paragraph that is written\nin short lines is folded to the width of the screen. Not so:\n\n   app run --for   4h\n\nThat `is one` word.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "for", Usage: "go for this `DURATION`, which takes more words than a line has", Value: "4h"},
			&cli.StringSliceFlag{Name: "region", Usage: "go in `REGION`", EnvVars: []string{"LAPSE_REGION"}},
			&cli.StringFlag{Name: "etcd-key", Usage: "read `FILE`", Category: registryFlags},
			&cli.StringFlag{Name: "hidden-figure", Hidden: true},
		},
		Action: func(*cli.Context) error { return nil },
	}}}
}

const helpOfRun = `NAME:
   app run - go

USAGE:
   app run [command options]

DESCRIPTION:
   A paragraph that is written in short lines is
   folded to the width of the screen. Not so:

      app run --for   4h

   That ~is one~ word.

OPTIONS:
   --for DURATION   go for this DURATION, which
                    takes more words than a line has
                    (default: "4h")
   --help, -h       show help
   --help-all       show help with all flags
   --region REGION  go in REGION`

// Not parallel: it sets the environment.
func TestHelpIsFoldedAndEndsWithWhatItLeavesOut(t *testing.T) {
	t.Setenv("COLUMNS", "52")
	for page, want := range map[string]string{
		"run --help": helpOfRun + "\n\n~app run --help-all~ shows 2 more.\n",
		"run --help-all": helpOfRun + ` [$LAPSE_REGION]

OTHER OPTIONS:
   --config FILE  read settings from a YAML FILE,
                  such as "namespace: prod"
                  [$LAPSE_CONFIG]

REGISTRY OPTIONS:
   --etcd-key FILE  read FILE [$LAPSE_ETCD_KEY]
`,
		"--help": `NAME:
   app - show how help looks

USAGE:
   app COMMAND [command options]

COMMANDS:
   run         go
   completion  print a completion script for bash,
               zsh or fish

OPTIONS:
   --help, -h     show help
   --help-all     show help with all flags
   --version, -v  print the version

~app --help-all~ explains all 2 commands with their
flags.
`,
	} {
		code, stdout, stderr := tryApp(t, manual(), strings.Fields(page)...)
		if got := strings.ReplaceAll(stdout, "`", "~"); code != ExitDone || stderr != "" || got != want {
			t.Errorf("%s: exit code %d, stderr %q\n%s\nwant\n%s", page, code, stderr, got, want)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestAllHelpHasThatOfEachCommand(t *testing.T) {
	_, all, _ := tryApp(t, manual(), "--help-all")
	for _, page := range []string{"run", "completion"} {
		if _, one, _ := tryApp(t, manual(), page, "--help-all"); !strings.Contains(all, one) {
			t.Errorf("that of %s is not in\n%s\nbut\n%s", page, all, one)
		}
	}
}
