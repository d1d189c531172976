package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// completeFlag asks a program what may stand in place of the word before it. It stands last on the line; the shells'
// scripts put it there.
const completeFlag = "--generate-bash-completion"

func completionCommand(name string) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script for bash, zsh or fish", ArgsUsage: "SHELL", HideHelpCommand: true,
		Description: fmt.Sprintf("Load it for this session with, for example:\n\n"+
			"   source <(%s completion bash)\n   source <(%s completion zsh)\n   %s completion fish | source", name, name, name),
		Action: func(c *cli.Context) error {
			script := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Args().First()]
			if c.Args().Len() != 1 || script == "" {
				if !c.Args().Present() {
					return Usage("name a shell: bash, zsh or fish")
				}
				return Usage("no completion for %q; choose bash, zsh or fish", strings.Join(c.Args().Slice(), " "))
			}
			_, err := fmt.Fprint(c.App.Writer, strings.ReplaceAll(script, "NAME", name))
			return err
		},
	}
}

// bashScript asks the program itself what may follow. What follows a colon is for shells that show descriptions.
const bashScript = `_complete_NAME() {
  local IFS=$'\n' line=("${COMP_WORDS[@]:0:COMP_CWORD+1}")
  COMPREPLY=($("${line[@]}" --generate-bash-completion 2>/dev/null | sed 's/:.*//'))
}
complete -o default -F _complete_NAME NAME
`

// zshScript does the same where it is sourced, and as a file _NAME in fpath.
const zshScript = `#compdef NAME
_NAME() {
  local -a choices
  choices=("${(@f)$("${(@Q)words[1,CURRENT]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${choices[1]}" ]]; then
    _describe NAME choices
  else
    _files
  fi
}
if [[ "${funcstack[1]}" == _NAME ]]; then
  _NAME "$@"
else
  (( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
  compdef _NAME NAME
fi
`

// fishScript does the same. The quotes let an empty word be one, too.
const fishScript = `function __complete_NAME
  set -l line (commandline -opc)
  set -l current (commandline -ct)
  set -l choices ($line "$current" --generate-bash-completion 2>/dev/null | string replace -r ':' '\t')
  if set -q choices[1]
    printf '%s\n' $choices
  else
    __fish_complete_path "$current"
  end
end
complete -c NAME -f -a '(__complete_NAME)'
`

// complete is what may stand in place of the last of words, each with its description: "extend:move the date on which
// leases end".
func complete(ctx context.Context, app *cli.App, words []string) []string {
	current := ""
	if len(words) > 0 {
		words, current = words[:len(words)-1], words[len(words)-1]
	}
	l := read(app, append([]string{app.Name}, words...))
	flags := allFlags(app.Commands)
	if l.command != nil {
		flags = l.command.Flags
	}
	var found []string
	switch last := len(l.options) - 1; {
	case slices.Contains(words, "--"):
	case last >= 0 && l.options[last].bare && l.options[last].word == words[len(words)-1] && takesValue(flags, l.options[last].name):
		name := findFlag(flags, l.options[last].name).Names()[0]
		l.options = l.options[:last] // it lacks its value
		if found = values(name); found == nil {
			found = l.recorded(ctx, name)
		}
	case strings.HasPrefix(current, "-"):
		found = describeFlags(flags, l)
	case l.command != nil && l.command.Name == "completion":
		found = []string{"bash", "zsh", "fish"}
	case l.command != nil && l.command.Name == "release-brake":
		found = []string{lease.BrakeRollback, lease.BrakeUnwatched, lease.BrakeHeartbeats}
	case l.command != nil && (strings.HasPrefix(l.command.ArgsUsage, "ID") || strings.HasPrefix(l.command.ArgsUsage, "[ID")):
		found = l.recorded(ctx, "ID")
	case l.command == nil:
		for _, command := range app.Commands {
			found = append(found, command.Name+":"+command.Usage)
		}
	}
	return slices.DeleteFunc(found, func(word string) bool { return !strings.HasPrefix(word, current) })
}

// describeFlags are the flags that are not on the line already, unless they may be given several times.
func describeFlags(flags []cli.Flag, l line) []string {
	var found []string
	for _, flag := range listed(flags) {
		documented, ok := flag.(cli.DocGenerationFlag)
		_, several := flag.(*cli.StringSliceFlag)
		word := dashed(flag.Names()[0]) + ":"
		if !ok || !several && l.gives(flag.Names()...) || slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, word) }) {
			continue
		}
		found = append(found, word+strings.ReplaceAll(documented.GetUsage(), "`", ""))
	}
	return found
}

// values are those of flags that have few.
func values(flag string) []string {
	return map[string][]string{
		"output":    {"table", "wide", "json"},
		"log-level": {"debug", "info", "warn", "error"},
		"anima":     {"client-token", "key-pair"},
		"wait":      {"none", "running", "heartbeat"},
		"as":        {"launcher", "janitor", "operator", "observer"},
		"state":     {"adopting", "active", "revoked", "ended", "unmanaged", "all"},
	}[flag]
}
