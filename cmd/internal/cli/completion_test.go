package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestComplete(t *testing.T) {
	for name, c := range map[string]struct {
		words []string
		want  []string
	}{
		"commands":                       {nil, []string{"extend", "status", "completion"}},
		"commands that begin so":         {[]string{"ex"}, []string{"extend"}},
		"flags after two dashes":         {[]string{"extend", "--"}, []string{"--for", "--term", "--count", "--label", "--strict", "--quiet", "--output", "--max-extend", "--interval", "--rate-share", "--ec2-unpaced", "--region", "--config", "--help", "--help-all"}},
		"flags after one":                {[]string{"extend", "-"}, []string{"--for", "--term", "--count", "--label", "--strict", "--quiet", "--output", "--max-extend", "--interval", "--rate-share", "--ec2-unpaced", "--region", "--config", "--help", "--help-all"}},
		"flags that are not hidden":      {[]string{"extend", "--hid"}, nil},
		"flags that begin so":            {[]string{"extend", "i-1", "--st"}, []string{"--strict"}},
		"a flag once":                    {[]string{"extend", "--count", "1", "--co"}, []string{"--config"}},
		"a list several times":           {[]string{"extend", "--label", "a=b", "--l"}, []string{"--label"}},
		"values":                         {[]string{"extend", "-o", ""}, []string{"table", "wide", "json"}},
		"values that begin so":           {[]string{"status", "--log-level", "w"}, []string{"warn"}},
		"no values where there are many": {[]string{"extend", "--for", ""}, nil},
		"nothing in place of a value":    {[]string{"extend", "--for", "--st"}, nil},
		"shells":                         {[]string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		"commands to explain":            {[]string{"help", "st"}, []string{"status"}},
		"nothing after --":               {[]string{"extend", "--", "--"}, nil},
		"no arguments":                   {[]string{"extend", ""}, nil},
		"flags before the command":       {[]string{"--strict", "ext"}, []string{"extend"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := try(t, append(c.words, completeFlag)...)
			var got []string
			for line := range strings.Lines(stdout) {
				word, _, _ := strings.Cut(line, ":")
				got = append(got, strings.TrimSpace(word))
			}
			if code != ExitDone || stderr != "" || !slices.Equal(got, c.want) {
				t.Errorf("exit code %d, stderr %q, %q; want %q", code, stderr, got, c.want)
			}
		})
	}
}

// The line that is completed must never be carried out.
func TestCompletingRunsNothing(t *testing.T) {
	code, stdout, stderr := try(t, "extend", "--", completeFlag)
	if code != ExitDone || strings.Contains(stdout, "no flag") || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// The scripts run in their shells, with the program in their place: a function that says how it was called.
func TestCompletionScripts(t *testing.T) {
	const function = `app() { for word in "$@"; do printf '[%s]\n' "$word"; done; printf 'more:what: it does\n'; }` + "\n"
	for shell, around := range map[string]string{
		"bash": function + `SCRIPT
			COMP_WORDS=(app extend --la "") COMP_CWORD=2; _complete_app; printf '%s\n' "${COMPREPLY[@]}"
			COMP_WORDS=(app extend "") COMP_CWORD=2; _complete_app; printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh": function + `compdef() { }; _describe() { print -l -- "${(@P)2}" }
			SCRIPT
			words=(app extend --la "") CURRENT=3; _app
			words=(app extend "") CURRENT=3; _app`,
		"fish": `function app; for word in $argv; printf '[%s]\n' $word; end; printf 'more:what: it does\n'; end
			function commandline; test $argv[1] = -ct; and echo "$current"; or printf '%s\n' app extend; end
			SCRIPT
			set current --la; __complete_app
			set current ""; __complete_app`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(err)
			}
			_, script, _ := try(t, "completion", shell)
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(strings.Replace(around, "SCRIPT", script, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), path, file).CombinedOutput()
			got := strings.NewReplacer("more:what: it does", "more", "more\twhat: it does", "more").Replace(string(out))
			if want := "[extend]\n[--la]\n[--generate-bash-completion]\nmore\n[extend]\n[]\n[--generate-bash-completion]\nmore\n"; err != nil || got != want {
				t.Errorf("%v\n%swant\n%s", err, got, want)
			}
		})
	}
}
