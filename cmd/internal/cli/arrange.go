package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts the flags of a command line before its arguments. urfave/cli ignores in silence whatever flag follows an
// argument: `lease extend i-1 --for 4h` would extend by nothing. Flags may also come before the command's name.
func arrange(app *cli.App, args []string) []string {
	if len(args) == 0 || slices.Contains(args, "--generate-bash-completion") {
		return args
	}
	commands, flags := app.Commands, allFlags(app.Commands)
	path, options, arguments := []string{args[0]}, []string{}, []string{}
	lacksValue := false // the last flag, at the end of the line
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		word := rest[0]
		if word == "--" {
			arguments = append(arguments, rest[1:]...)
			break
		}
		if len(word) > 1 && word[0] == '-' {
			options = append(options, word)
			takes := takesValue(flags, word)
			lacksValue = takes && len(rest) == 1
			if takes && !lacksValue {
				options = append(options, rest[1])
				rest = rest[1:]
			}
			continue
		}
		if command := find(commands, word); command != nil && len(arguments) == 0 {
			path, commands = append(path, word), command.Subcommands
			flags = command.Flags
			if len(commands) > 0 {
				flags = allFlags(commands)
			}
			continue
		}
		arguments = append(arguments, word)
	}
	arranged := append(path, options...)
	if lacksValue || slices.Contains(options, "--help") || slices.Contains(options, "-h") {
		return arranged // urfave/cli must not take an argument for the value, or for the name of a help text
	}
	if len(arguments) > 0 && len(path) > 1 {
		arranged = append(arranged, "--")
	}
	return append(arranged, arguments...)
}

func allFlags(commands []*cli.Command) []cli.Flag {
	var flags []cli.Flag
	for _, command := range commands {
		flags = append(append(flags, command.Flags...), allFlags(command.Subcommands)...)
	}
	return flags
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, command := range commands {
		if command.HasName(name) {
			return command
		}
	}
	return nil
}

// takesValue reports whether the word after this flag belongs to it.
func takesValue(flags []cli.Flag, word string) bool {
	name := strings.TrimLeft(word, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			_, boolean := flag.(*cli.BoolFlag)
			return !boolean
		}
	}
	return false
}

// arrangedKey is where an app keeps its arranged command line.
const arrangedKey = "arranged"

// Given reports whether one of these flags stands on the command line, rather than in the environment or a file.
func Given(c *cli.Context, names ...string) bool {
	args, _ := c.App.Metadata[arrangedKey].([]string)
	for _, word := range args {
		if word == "--" {
			return false
		}
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if strings.HasPrefix(word, "-") && slices.Contains(names, name) {
			return true
		}
	}
	return false
}
