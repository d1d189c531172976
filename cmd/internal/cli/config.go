package cli

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Category: OtherFlags,
		Usage: "read settings from a YAML `FILE`, such as \"namespace: prod\"",
	}
}

// configFile is what the --config file says to one program: the texts as they are written there, by flag.
type configFile struct {
	name     string
	settings map[string][]string
}

// file reads the --config file, if one is given. One file serves all commands: flags of other commands of the program
// are skipped.
func (l line) file(lookup func(string) (string, bool)) (configFile, error) {
	f := configFile{settings: map[string][]string{}}
	f.name, _ = lookup(prefix + "CONFIG")
	for _, o := range l.options {
		if o.name == "config" {
			f.name = o.value
		}
	}
	if f.name == "" || findFlag(l.command.Flags, "config") == nil {
		return f, nil
	}
	data, err := os.ReadFile(f.name)
	if err != nil {
		return f, Usage("cannot read the --config file: %v", err)
	}
	top, decoder := map[string]yaml.Node{}, yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&top); err != nil && !errors.Is(err, io.EOF) {
		return f, Usage("the --config file %s is not a YAML map of flags: %v", f.name, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return f, Usage("the --config file %s has more than one YAML document; write all settings above the line ---", f.name)
	}
	own := map[string]yaml.Node{}
	for _, program := range programs() {
		section, there := top[program]
		flags := map[string]yaml.Node{}
		if there && section.Decode(&flags) != nil {
			return f, Usage("%s in %s must be a map: the flags of %s", program, f.name, program)
		}
		if program == l.app.Name {
			own = flags
		}
		delete(top, program)
	}
	maps.DeleteFunc(top, func(name string, _ yaml.Node) bool { return l.isOthers(name) })
	maps.Copy(top, own) // the section has priority
	for name, value := range top {
		if f.settings[name], err = f.read(l.app, name, value); err != nil {
			return f, err
		}
	}
	return f, nil
}

func programs() []string { return []string{"lease", "janitor", "sidecar"} }

// isOthers reports whether a flag concerns one call in this program, and is a setting of another program.
func (l line) isOthers(flag string) bool {
	return !isSetting(l.app.Name, flag) && slices.ContainsFunc(programs(), func(other string) bool { return isSetting(other, flag) })
}

func (f configFile) read(app *cli.App, name string, value yaml.Node) ([]string, error) {
	known := slices.DeleteFunc(allFlags(app.Commands), func(f cli.Flag) bool {
		return len(listed([]cli.Flag{f})) == 0 && !isSetting(app.Name, f.Names()[0]) // which a command may have to refuse it
	})
	known = slices.DeleteFunc(known, func(f cli.Flag) bool { return slices.Contains([]string{"config", "help", "help-all"}, f.Names()[0]) })
	switch flag := findFlag(known, name); {
	case flag == nil:
		if near := closest(name, flagNames(known)); near != "" {
			return nil, Usage("no flag %q in %s; did you mean %s?", name, f.name, near)
		}
		return nil, Usage("no flag %q in %s; put a flag that %s does not have below the name of its program, as in \"janitor:\"",
			name, f.name, app.Name)
	case flag.Names()[0] != name:
		return nil, Usage("no flag %q in %s; did you mean %s?", name, f.name, flag.Names()[0])
	case !isSetting(app.Name, name):
		return nil, Usage("%s in %s is ignored; give --%s on the command line each time", name, f.name, name)
	}
	texts, plain := textsOf(&value)
	if !plain {
		return nil, Usage("%s in %s must be a plain value, or a list of such", name, f.name)
	}
	return texts, nil
}

// textsOf are the texts of a plain value, or of a list of such, exactly as they are written: to YAML, 0123 is a number
// with the value 83, and no a truth value. False for anything else, and for a null.
func textsOf(value *yaml.Node) (texts []string, plain bool) {
	null := func(n *yaml.Node) bool { return n.ShortTag() == "!!null" }
	if null(value) || slices.ContainsFunc(value.Content, null) {
		return nil, false
	}
	if value.Decode(&texts) == nil {
		return texts, true
	}
	text := ""
	err := value.Decode(&text)
	return []string{text}, err == nil
}
