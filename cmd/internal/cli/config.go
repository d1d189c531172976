package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"
)

func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Category: settingsFlags, EnvVars: []string{"LAPSE_CONFIG"},
		Usage: "read flags from a YAML `FILE`, as in \"namespace: prod\"; a list gives a flag several times; " +
			"flags that lease, janitor or sidecar alone has stand below its name, as in \"janitor:\"",
	}
}

// once reports whether a flag is about one invocation, so that neither the environment nor a file may give it: it
// answers a question, names what is to be changed and how far, or chooses what `list` and `watch` show, where the same
// variable would describe a launch.
func once(command, flag string) bool {
	return slices.Contains(onceFlags(), flag) || (command == "list" || command == "watch") &&
		slices.Contains([]string{"holder", "label", "state", "expiring", "stuck", "unexplained", "foreign", "initial"}, flag)
}

func onceFlags() []string {
	return []string{
		"yes", "id", "for", "by", "until", "reason", "dry-run", "allow-shorten", "at-least", "armed", "arm", "new", "uuid", "strict", "all", "check", "as",
		"brake", "stay",
	}
}

// prefix is that of the variables in the environment.
const prefix = "LAPSE_"

// equip gives each flag that has none its variable in the environment: LAPSE_IMAGE_ID is --image-id. Nobody needs to be
// told that switches are off by default.
func equip(command *cli.Command) {
	for _, flag := range command.Flags {
		variable := prefix + strings.ToUpper(strings.ReplaceAll(flag.Names()[0], "-", "_"))
		var variables *[]string
		switch f := flag.(type) {
		case *cli.StringFlag:
			variables = &f.EnvVars
		case *cli.StringSliceFlag:
			variables = &f.EnvVars
		case *cli.BoolFlag:
			variables, f.DisableDefaultText = &f.EnvVars, true
		case *cli.IntFlag:
			variables = &f.EnvVars
		case *cli.Float64Flag:
			variables = &f.EnvVars
		}
		switch {
		case variables == nil:
		case once(command.Name, flag.Names()[0]):
			*variables = nil
		case len(*variables) == 0:
			*variables = []string{variable}
		}
	}
}

// applyConfig sets, from the --config file, the flags that neither the command line nor the environment has set. One
// file serves all commands: what other commands of the program have is passed over.
func applyConfig(c *cli.Context) error {
	file := c.String("config")
	if file == "" {
		return nil
	}
	settings, err := readConfig(file, c.App)
	if err != nil {
		return err
	}
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		values, given := settings[name]
		if !given || c.IsSet(name) || once(c.Command.Name, name) {
			continue
		}
		if _, several := flag.(*cli.StringSliceFlag); len(values) != 1 && !several {
			return Usage("%s in %s is a list, and --%s takes one value", name, file, name)
		}
		for _, value := range values {
			if wrong := mistake(flag, value); wrong != "" {
				return Usage("%s in %s: %s", name, file, wrong)
			}
			if err := c.Set(name, value); err != nil {
				return Usage("%s in %s: %v", name, file, err)
			}
		}
		if checked, ok := flag.(cli.ActionableFlag); ok {
			if err := checked.RunAction(c); err != nil {
				return Usage("in %s: %v", file, err)
			}
		}
	}
	return nil
}

// readConfig reads the file: flags of this program, and sections of flags, one for each program. Those of other programs
// are theirs to read.
func readConfig(file string, app *cli.App) (map[string][]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, Usage("cannot read the --config file: %v", err)
	}
	top := map[string]any{}
	exact := func(d *json.Decoder) *json.Decoder { // 1000000 stays as it is written
		d.UseNumber()
		return d
	}
	if err := yaml.UnmarshalStrict(data, &top, exact); err != nil {
		return nil, Usage("the --config file %s is not a YAML map of flags: %v", file, err)
	}
	own := map[string]any{}
	for _, program := range []string{"lease", "janitor", "sidecar"} {
		section, there := top[program]
		flags, ok := section.(map[string]any)
		if there && section != nil && !ok {
			return nil, Usage("%s in %s must be a map: the flags of %s", program, file, program)
		}
		if program == app.Name {
			own = flags
		}
		delete(top, program)
	}
	settings := map[string][]string{}
	for _, flags := range []map[string]any{top, own} { // what stands in the section wins
		for name, value := range flags {
			if settings[name], err = readSetting(file, app, name, value); err != nil {
				return nil, err
			}
		}
	}
	return settings, nil
}

// readSetting reads one flag of a file.
func readSetting(file string, app *cli.App, name string, value any) ([]string, error) {
	known := allFlags(app.Commands)
	known = slices.DeleteFunc(known, func(f cli.Flag) bool { return slices.Contains([]string{"config", "help"}, f.Names()[0]) })
	switch flag := findFlag(known, name); {
	case flag == nil:
		if near := closest(name, flagNames(known)); near != "" {
			return nil, Usage("no flag %q in %s; did you mean %s?", name, file, near)
		}
		return nil, Usage("no flag %q in %s; one that %s does not have goes below the name of the program that has it, as in \"janitor:\"",
			name, file, app.Name)
	case flag.Names()[0] != name:
		return nil, Usage("no flag %q in %s; did you mean %s?", name, file, flag.Names()[0])
	case slices.Contains(onceFlags(), name):
		return nil, Usage("%s in %s does not count; say --%s on the command line each time", name, file, name)
	}
	list, several := value.([]any)
	if !several {
		list = []any{value}
	}
	var texts []string
	for _, one := range list {
		switch one.(type) {
		case map[string]any, []any, nil:
			return nil, Usage("%s in %s must be a plain value, or a list of such", name, file)
		}
		texts = append(texts, fmt.Sprint(one))
	}
	return texts, nil
}
