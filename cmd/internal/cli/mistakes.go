package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// check finds mistakes in a command line before urfave/cli does, whose error messages are for programmers, and which
// parses flags before it finds that the command is missing.
func (l line) check() error {
	group := l.command == nil || len(l.command.Subcommands) > 0
	switch {
	case group && len(l.arguments) > 0:
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
	commands := l.app.Commands
	if l.command != nil {
		commands = l.command.Subcommands
	}
	var names []string
	for _, command := range commands {
		names = append(names, command.Names()...)
	}
	meant := cousin(l.app.Name, word)
	if name, ours := strings.CutPrefix(meant, l.app.Name+" "); ours && l.command == nil {
		return Usage("no command %q; did you mean %q?", word, name)
	}
	if near := closest(word, names); near != "" {
		return Usage("no command %q; did you mean %q?", word, near)
	}
	if meant != "" && l.command == nil {
		return Usage("no command %q; did you mean `%s`?", word, meant)
	}
	return Usage("no command %q; see `%s --help`", word, l.called())
}

// checkAlone checks a line that names no command.
func (l line) checkAlone() error {
	for _, o := range l.options {
		switch {
		case slices.Contains([]string{"help", "h", "help-all", "version", "v"}, o.name):
		case findFlag(allFlags(l.app.Commands), o.name) != nil:
			return Usage("%s is given, and no command; see `%s --help`", dashed(o.name), l.app.Name)
		default:
			return Usage("no flag %s for %s; see `%s --help`", dashed(o.name), l.app.Name, l.app.Name)
		}
	}
	return nil
}

func (l line) noArguments(word string) error {
	if lease.IsInstanceID(word) && find(l.app.Commands, "show") != nil {
		return Usage("`%s` takes no arguments; for one lease, `%s show %s`", l.called(), l.app.Name, word)
	}
	return Usage("`%s` takes no arguments, but %q was given; see `%s --help`", l.called(), word, l.called())
}

func (l line) checkOption(o option) error {
	flag := findFlag(l.command.Flags, o.name)
	if flag == nil {
		if near := closest(o.name, flagNames(l.command.Flags)); near != "" && len(l.having(o.name)) == 0 {
			return Usage("no flag %s for %s; did you mean %s?", dashed(o.name), l.called(), dashed(near))
		}
		if others := l.having(o.name); len(others) > 0 {
			return Usage("no flag %s for %s; it is one of %s", dashed(o.name), l.called(), strings.Join(others, ", "))
		}
		return Usage("no flag %s for %s; see `%s --help`", dashed(o.name), l.called(), l.called())
	}
	if o.bare {
		if takesValue(l.command.Flags, o.name) {
			return Usage("%s lacks its %s; see `%s --help`", dashed(o.name), placeholder(flag), l.called())
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
	var known []string
	for _, flag := range allFlags(l.app.Commands) {
		for _, v := range variablesIn(flag) {
			if name, ours := strings.CutPrefix(v, prefix); ours {
				known = append(known, name)
			}
		}
	}
	for _, setting := range environ {
		v, _, _ := strings.Cut(setting, "=")
		name, ours := strings.CutPrefix(v, prefix)
		if !ours || slices.Contains(known, name) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if near := closest(name, known); l.isOfCall(flag) {
			warnings = append(warnings, fmt.Sprintf("%s is set but ignored; give --%s on the command line each time", v, flag))
		} else if near != "" && len(near)-len(name) <= 2 { // LAPSE_NAME is not a typing error
			warnings = append(warnings, fmt.Sprintf("%s is set, but nothing reads it; did you mean %s?", v, prefix+near))
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

func variablesIn(flag cli.Flag) []string {
	if variables := variablesOf(flag); variables != nil {
		return *variables
	}
	return nil
}

func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, flag := range listed(flags) {
		names = append(names, flag.Names()...)
	}
	return names
}

// dashed is a flag as people write it.
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

// Closest is the name that was probably meant by a word; empty if none is near. Long names are only near if little
// differs.
func Closest(word string, names []string) string {
	const most = 3
	near := closest(word, names)
	if near != "" && distance(word, near) > most {
		return ""
	}
	return near
}

// closest is the name that was probably meant by a word: the only one with that beginning, or one that differs by one
// or two letters. Empty if none is near.
func closest(word string, names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return len(name) < 2 })
	var begin []string
	for _, name := range names {
		if len(word) > 1 && strings.HasPrefix(name, word) {
			begin = append(begin, name)
		}
	}
	if len(begin) == 1 {
		return begin[0]
	}
	best, least := "", min(max(1, len(word)/3), len(word)-1)
	for _, name := range names {
		if d := distance(word, name); d <= least {
			best, least = name, d-1
		}
	}
	return best
}

// distance is how many letters must be inserted, removed, replaced or swapped with the next one to turn one word into
// the other.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
