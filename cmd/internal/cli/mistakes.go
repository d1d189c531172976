package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"lapse/lease"
)

// check finds mistakes in a command line before urfave/cli does, whose error messages are for programmers, and which
// parses flags before it finds that the command is missing.
func (l line) check() error {
	switch {
	case l.command == nil && len(l.arguments) > 0:
		return l.noCommand(l.arguments[0])
	case l.command == nil:
		return l.checkAlone()
	case l.gives("help", "h", "help-all"):
		return nil
	}
	for _, o := range l.options { // before arguments: after a misspelt flag, its value is taken for one
		if err := l.checkOption(o); err != nil {
			return err
		}
	}
	if len(l.arguments) > 0 && l.command.ArgsUsage == "" {
		return l.noArguments(l.arguments[0])
	}
	return l.checkTwice()
}

// checkTwice refuses two values for a flag that takes one, since it cannot know which one was meant. A switch may be
// repeated with the same value.
func (l line) checkTwice() error {
	before := map[cli.Flag]string{}
	for _, o := range l.options {
		flag, text := findFlag(l.command.Flags, o.name), o.value
		if o.bare {
			text = "true"
		}
		_, several := flag.(*cli.StringSliceFlag)
		_, boolean := flag.(*cli.BoolFlag)
		if earlier, twice := before[flag]; twice && !several && (!boolean || earlier != text) {
			return Usage("%s is given twice, as %s and %s; it takes one value", dashed(flag.Names()[0]), earlier, text)
		}
		before[flag] = text
	}
	return nil
}

func (l line) noCommand(word string) error {
	var names []string
	for _, command := range l.app.Commands {
		names = append(names, command.Name)
		if slices.Contains(strings.Fields(synonyms()[command.Name]), word) {
			return Usage("no command %q; did you mean %q?", word, command.Name)
		}
	}
	if near := closest(word, names); near != "" {
		return Usage("no command %q; did you mean %q?", word, near)
	}
	return Usage("no command %q; see `%s --help`", word, l.app.Name)
}

// synonyms are words of other programs for our commands.
func synonyms() map[string]string {
	return map[string]string{
		"extend": "renew prolong postpone keep", "list": "ls ps", "show": "get describe info", "launch": "create new run start",
		"release": "terminate delete remove rm kill destroy", "adopt": "import manage", "unmanage": "forget detach",
		"pause": "stop disable", "arm": "enable enforce", "release-brake": "release lift unbrake",
	}
}

func (l line) checkAlone() error {
	for _, o := range l.options {
		switch {
		case slices.Contains([]string{"help", "h", "help-all", "version", "v"}, o.name):
		case findFlag(allFlags(l.app.Commands), o.name) != nil:
			return Usage("%s is given, but no command; see `%s --help`", dashed(o.name), l.app.Name)
		default:
			return Usage("no flag %s for %s; see `%s --help`", dashed(o.name), l.app.Name, l.app.Name)
		}
	}
	return nil
}

func (l line) having(flag string) (commands []string) {
	for _, command := range l.app.Commands {
		if findFlag(listed(command.Flags), flag) != nil {
			commands = append(commands, "`"+l.app.Name+" "+command.Name+"`")
		}
	}
	return commands
}

func (l line) noArguments(word string) error {
	if lease.IsInstanceID(word) && l.app.Command("show") != nil {
		return Usage("`%s` takes no arguments; for one lease, `%s show %s`", l.called(), l.app.Name, word)
	}
	return Usage("`%s` takes no arguments, but %q was given; see `%s --help`", l.called(), word, l.called())
}

func (l line) checkOption(o option) error {
	flag := findFlag(l.command.Flags, o.name)
	if flag == nil {
		if others := l.having(o.name); len(others) > 0 {
			return Usage("no flag %s for %s; it is one of %s", dashed(o.name), l.called(), strings.Join(others, ", "))
		}
		if near := closest(o.name, flagNames(l.command.Flags)); near != "" {
			return Usage("no flag %s for %s; did you mean %s?", dashed(o.name), l.called(), dashed(near))
		}
		return Usage("no flag %s for %s; see `%s --help`", dashed(o.name), l.called(), l.called())
	}
	if o.bare {
		if takesValue(l.command.Flags, o.name) {
			return Usage("%s is missing its %s; see `%s --help`", dashed(o.name), placeholder(flag), l.called())
		}
		return nil
	}
	if _, wrong := valuesOf(flag, o.value); wrong != "" {
		return Usage("%s %s", dashed(flag.Names()[0]), wrong)
	}
	return nil
}

// unread warns of variables that have no effect: those that are nearly the name of a setting, and those of this
// command's flags that only the command line gives. Others may belong to another program.
func (l line) unread(environ []string) (warnings []string) {
	flags, known := allFlags(l.app.Commands), []string{}
	for _, flag := range flags {
		if name := flag.Names()[0]; isSetting(l.app.Name, name) {
			known = append(known, name)
		}
	}
	for _, setting := range environ {
		v, _, _ := strings.Cut(setting, "=")
		name, ours := strings.CutPrefix(v, prefix)
		flag := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if !ours || slices.Contains(known, flag) {
			continue
		}
		if near := closest(flag, known); l.isOfCall(flag) {
			warnings = append(warnings, fmt.Sprintf("%s is set but ignored; give --%s on the command line each time", v, flag))
		} else if near != "" && !isSetting("", flag) && len(near)-len(flag) <= 2 && findFlag(flags, flag) == nil { // LAPSE_NAME is not a typing error
			warnings = append(warnings, fmt.Sprintf("%s is set, but nothing reads it; did you mean %s?", v, Variable(near)))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// isOfCall reports whether this flag of the command concerns one call only, and is not a setting of any program. If it
// is also on the command line, no warning is needed.
func (l line) isOfCall(flag string) bool {
	return l.command != nil && findFlag(listed(l.command.Flags), flag) != nil && !isSetting(l.app.Name, flag) && !l.isOthers(flag) && !l.gives(flag)
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, flag := range listed(flags) {
		names = append(names, flag.Names()...)
	}
	return names
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// placeholder is what a flag calls its value: the word in backquotes in its usage.
func placeholder(flag cli.Flag) string {
	if documented, ok := flag.(cli.DocGenerationFlag); ok {
		if _, rest, quoted := strings.Cut(documented.GetUsage(), "`"); quoted {
			word, _, _ := strings.Cut(rest, "`")
			return word
		}
	}
	return "value"
}

// How similar two words must be, from 0 to 1, for one to be a misspelling of the other: commands and flags, and long names.
const (
	likeSlip = 0.87
	likeName = 0.96
)

// Closest is the long name that was probably meant by a word; empty if none is near.
func Closest(word string, names []string) string { return likeliest(word, names, likeName) }

// closest is the command or flag that was probably meant by a word; empty if none is near.
func closest(word string, names []string) string { return likeliest(word, names, likeSlip) }

// likeliest uses the measure of urfave/cli's own suggestions, which always name something, however different.
func likeliest(word string, names []string, least float64) (best string) {
	const boostFrom, prefix = 0.7, 4
	for _, name := range names {
		if like := smetrics.JaroWinkler(name, word, boostFrom, prefix); len(name) > 1 && like >= least {
			best, least = name, like
		}
	}
	return best
}
