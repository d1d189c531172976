package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// completion is the command that prints a shell's completion script.
func completion(name string) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script for bash, zsh or fish", ArgsUsage: "SHELL",
		Description: fmt.Sprintf("Load it for this session with, for example:\n\n   source <(%s completion bash)", name),
		Action: func(c *cli.Context) error {
			script := map[string]string{"bash": bashScript, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + bashScript}
			switch shell := c.Args().First(); shell {
			case "bash", "zsh":
				_, err := fmt.Fprint(c.App.Writer, strings.ReplaceAll(script[shell], "NAME", name))
				return err
			case "fish":
				text, err := c.App.ToFishCompletion()
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(c.App.Writer, text)
				return err
			default:
				return Usage("no completion for %q; choose bash, zsh or fish", shell)
			}
		},
	}
}

// bashScript asks the command itself what may follow.
const bashScript = `_complete_NAME() {
  local word="${COMP_WORDS[COMP_CWORD]}" line=("${COMP_WORDS[@]:0:COMP_CWORD}")
  if [[ "$word" == -* ]]; then line+=("$word"); fi
  local choices
  choices="$("${line[@]}" --generate-bash-completion 2>/dev/null | sed 's/:.*//')"
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -o default -F _complete_NAME NAME
`
