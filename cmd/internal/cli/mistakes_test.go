package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// try runs the example with a line.
func try(t *testing.T, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	return tryApp(t, example(func(*cli.Context) error { return nil }), words...)
}

func tryApp(t *testing.T, app *cli.App, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), app, append([]string{"app"}, words...), &out, &errs)
	return code, out.String(), errs.String()
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestMistakesAreOneSentence(t *testing.T) {
	for line, want := range map[string]string{
		"extend --bogus":               "no flag --bogus for app extend; see `app extend --help`",
		"extend i-1 --forr 4h":         "no flag --forr for app extend; did you mean --for?",
		"extend -forr 4h":              "no flag --forr for app extend; did you mean --for?",
		"extend --stirct":              "no flag --stirct for app extend; did you mean --strict?",
		"extend --quie":                "no flag --quie for app extend; did you mean --quiet?",
		"extend --hidden-figur 1s":     "no flag --hidden-figur for app extend; see `app extend --help`",
		"extend -z":                    "no flag -z for app extend; see `app extend --help`",
		"extend ---for 4h":             "no flag ---for for app extend; did you mean --for?",
		"extend i-1 --for":             "--for lacks its DURATION; see `app extend --help`",
		"extend i-1 --term":            "--term lacks its value; see `app extend --help`",
		"extend --count abc":           "--count \"abc\" is not a whole decimal number, or too large",
		"extend --count=1.5":           "--count \"1.5\" is not a whole decimal number, or too large",
		"extend --count 99e99":         "--count \"99e99\" is not a whole decimal number, or too large",
		"extend --rate-share half":     "--rate-share \"half\" is not a decimal number",
		"extend --strict=maybe":        "--strict \"maybe\" is neither true nor false",
		"exten i-1 --for 1h":           "no command \"exten\"; did you mean \"extend\"?",
		"--for 1h exten":               "no command \"exten\"; did you mean \"extend\"?",
		"exten --bogus":                "no command \"exten\"; did you mean \"extend\"?",
		"exten --help":                 "no command \"exten\"; did you mean \"extend\"?",
		"stretch i-1":                  "no command \"stretch\"; see `app --help`",
		"help exten":                   "no command \"exten\"; did you mean \"extend\"?",
		"--for 4h":                     "--for is given, and no command; see `app --help`",
		"--bogus":                      "no flag --bogus for app; see `app --help`",
		"status extra":                 "`app status` takes no arguments, but \"extra\" was given; see `app status --help`",
		"status --quit extra":          "no flag --quit for app status; did you mean --quiet?",
		"status -- --quiet":            "`app status` takes no arguments, but \"--quiet\" was given; see `app status --help`",
		"version 2":                    "no command \"2\"; see `app --help`",
		"extend -o xml":                "--output \"xml\": choose table, wide or json",
		"extend --for 1h i-1 --for 2h": "--for is given twice, as 1h and 2h; it takes one value",
		"extend -o json --output=json": "--output is given twice, as json and json; it takes one value",
		"--count 1 extend --count 10":  "--count is given twice, as 1 and 10; it takes one value",
		"extend --strict --strict=no":  "--strict is given twice, as true and no; it takes one value",
		"extend --config missing.yml":  "cannot read the --config file: open missing.yml: no such file or directory",
		"completion":                   "name a shell: bash, zsh or fish",
		"completion tcsh":              "no completion for \"tcsh\"; choose bash, zsh or fish",
		"completion bash zsh":          "no completion for \"bash zsh\"; choose bash, zsh or fish",
	} {
		t.Run(line, func(t *testing.T) {
			code, stdout, stderr := try(t, strings.Fields(line)...)
			if code != ExitUsage || stderr != "app: "+want+"\n" || stdout != "" {
				t.Errorf("exit code %d, stdout %q, stderr\n%swant\napp: %s", code, stdout, stderr, want)
			}
		})
	}
}

// Not parallel: it sets the environment.
func TestMistakesInTheEnvironmentNameTheVariable(t *testing.T) {
	for variable, want := range map[string]string{
		"LAPSE_INTERVAL":    "app: LAPSE_INTERVAL \"abc\" is not a whole decimal number, or too large\n",
		"LAPSE_RATE_SHARE":  "app: LAPSE_RATE_SHARE \"abc\" is not a decimal number\n",
		"LAPSE_EC2_UNPACED": "app: LAPSE_EC2_UNPACED \"abc\" is neither true nor false\n",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "abc")
			if code, _, stderr := try(t, "extend", "i-1"); code != ExitUsage || stderr != want {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr, want)
			}
			if code, stdout, stderr := try(t, "extend", "--help-all"); code != ExitDone || stderr != "" || !strings.Contains(stdout, "LAPSE_MAX_EXTEND") {
				t.Errorf("help: exit code %d, stderr %q, stdout\n%s", code, stderr, stdout)
			}
		})
	}
}

// Not parallel: it sets the environment.
func TestAMisspeltVariableIsReported(t *testing.T) {
	for variable, want := range map[string]string{
		"LAPSE_INTERVLA":    "app: warning: LAPSE_INTERVLA is set, but nothing reads it; did you mean LAPSE_INTERVAL?\n",
		"LAPSE_ETCD_CACRET": "app: warning: LAPSE_ETCD_CACRET is set, but nothing reads it; did you mean LAPSE_ETCD_CACERT?\n",
		"LAPSE_ETCD_CACER":  "app: warning: LAPSE_ETCD_CACER is set, but nothing reads it; did you mean LAPSE_ETCD_CACERT?\n",
		"LAPSE_COUNT":       "app: warning: LAPSE_COUNT is set but ignored; give --count on the command line each time\n",
		"LAPSE_INTERVAL":    "",
		"LAPSE_ETCD_CACERT": "", // another command's
		"LAPSE_SOCKET":      "", // another program's
		"LAPSE_NAME":        "",

		"LAPSE_HIDDEN_FIGURE": "",
		"COUTN":               "",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "1")
			if code, _, stderr := try(t, "extend", "i-1"); code != ExitDone || stderr != want {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr, want)
			}
		})
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestHelpHasManyNames(t *testing.T) {
	for line, want := range map[string]string{
		"":                     "COMMANDS:",
		"help":                 "COMMANDS:",
		"--help":               "COMMANDS:",
		"-h":                   "COMMANDS:",
		"help extend":          "app extend [command options] ID…",
		"extend --help":        "app extend [command options] ID…",
		"help extend --help":   "app extend [command options] ID…",
		"help --help":          "COMMANDS:",
		"version":              "app version v1\n",
		"--version":            "app version v1\n",
		"extend i-1 --forr -h": "app extend [command options] ID…",
	} {
		code, stdout, stderr := try(t, strings.Fields(line)...)
		if code != ExitDone || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%q: exit code %d, stdout\n%s\nstderr %q, want %q", line, code, stdout, stderr, want)
		}
	}
}

func TestClosest(t *testing.T) {
	t.Parallel()
	names := []string{"extend", "release", "revoke", "list", "launch", "for", "o", "until", "unmanage", "mark-grace"}
	for word, want := range map[string]string{
		"exten": "extend", "extnd": "extend", "relaese": "release", "lsit": "list", "lst": "list", "forr": "for", "mark_grace": "mark-grace",
		"unt": "until", "un": "", "x": "", "b": "", "ox": "", "stretch": "", "": "",
	} {
		if got := closest(word, names); got != want {
			t.Errorf("%q is closest to %q, want %q", word, got, want)
		}
	}
}
