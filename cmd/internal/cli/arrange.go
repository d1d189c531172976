package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line, taken apart.
type line struct {
	app       *cli.App
	command   *cli.Command // nil: none
	options   []option
	arguments []string
}

// option is a flag as it stands on a command line.
type option struct {
	word  string // as written
	name  string // without dashes
	value string
	apart bool // the value is a word of its own
	bare  bool // there is no value
}

// read takes a command line apart. Flags may stand before or after arguments, and before the command's name too:
// urfave/cli ignores flags that follow an argument, so that `lease extend i-1 --for 4h` would extend by nothing.
func read(app *cli.App, args []string) line {
	l := line{app: app}
	flags := allFlags(app.Commands)
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		word := rest[0]
		if word == "--" {
			l.arguments = append(l.arguments, rest[1:]...)
			break
		}
		if len(word) > 1 && word[0] == '-' {
			o := newOption(word)
			if o.bare && takesValue(flags, o.name) && len(rest) > 1 {
				o.value, o.apart, o.bare = rest[1], true, false
				rest = rest[1:]
			}
			l.options = append(l.options, o)
			continue
		}
		if (word == "help" || word == "version") && l.command == nil && len(l.arguments) == 0 { // as people type it elsewhere
			l.options = append(l.options, newOption("--"+word))
			continue
		}
		if command := app.Command(word); command != nil && l.command == nil && len(l.arguments) == 0 {
			l.command, flags = command, command.Flags
			continue
		}
		l.arguments = append(l.arguments, word)
	}
	return l
}

func newOption(word string) option {
	name, value, valued := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	return option{word: word, name: name, value: value, bare: !valued}
}

// words are the line as urfave/cli is to read it: with what the environment and the file add, and with its flags before
// its arguments.
func (l line) words(lookup func(string) (string, bool)) ([]string, error) {
	settings, err := l.settings(lookup)
	if err != nil {
		return nil, err
	}
	return l.arranged(settings), nil
}

// arranged is the command line with its flags before its arguments, and settings before both.
func (l line) arranged(settings []string) []string {
	words := append(strings.Fields(l.called()), settings...)
	for _, o := range l.options {
		words = append(words, l.plain(o)...)
	}
	if len(l.arguments) > 0 && l.command != nil {
		words = append(words, "--")
	}
	return append(words, l.arguments...)
}

// plain is an option with its values as urfave/cli is to read them.
func (l line) plain(o option) (words []string) {
	flag := cli.Flag(nil)
	if l.command != nil {
		flag = findFlag(l.command.Flags, o.name)
	}
	if o.bare || flag == nil {
		return []string{o.word}
	}
	values, _ := valuesOf(flag, o.value)
	for _, value := range values {
		if word, _, valued := strings.Cut(o.word, "="); valued && !o.apart {
			words = append(words, word+"="+value)
		} else {
			words = append(words, o.word, value)
		}
	}
	return words
}

// gives reports whether one of these flags stands on the line.
func (l line) gives(names ...string) bool {
	return slices.ContainsFunc(l.options, func(o option) bool { return slices.Contains(names, o.name) })
}

// called is how the command is called: "lease extend".
func (l line) called() string {
	if l.command == nil {
		return l.app.Name
	}
	return l.app.Name + " " + l.command.Name
}

func allFlags(commands []*cli.Command) []cli.Flag {
	var flags []cli.Flag
	for _, command := range commands {
		flags = append(flags, command.Flags...)
	}
	return flags
}

// listed are the flags that are not hidden: no help, completion or advice names those.
func listed(flags []cli.Flag) []cli.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(flag cli.Flag) bool {
		shown, is := flag.(cli.VisibleFlag)
		return is && !shown.IsVisible()
	})
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

// takesValue reports whether the word after this flag belongs to it.
func takesValue(flags []cli.Flag, name string) bool {
	flag := findFlag(flags, name)
	_, boolean := flag.(*cli.BoolFlag)
	return flag != nil && !boolean
}
