package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"
)

func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Usage: "read flags from a YAML `FILE`, as in \"namespace: prod\"; a list gives a flag several times",
		EnvVars: []string{"LAPSE_CONFIG"},
	}
}

// equip gives each flag that has none its variable in the environment: LAPSE_IMAGE_ID is --image-id. Nobody needs to be
// told that switches are off by default.
func equip(flags []cli.Flag) {
	for _, flag := range flags {
		variable := "LAPSE_" + strings.ToUpper(strings.ReplaceAll(flag.Names()[0], "-", "_"))
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
		if variables != nil && len(*variables) == 0 {
			*variables = []string{variable}
		}
	}
}

// applyConfig sets, from the --config file, the flags that neither the command line nor the environment has set. Names
// that this command does not have are those of others: one file serves all commands.
func applyConfig(c *cli.Context) error {
	file := c.String("config")
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Usage("cannot read the --config file: %v", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		return Usage("the --config file %s is not a YAML map of flags: %v", file, err)
	}
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		value, given := values[name]
		if !given || c.IsSet(name) || name == "config" {
			continue
		}
		list, several := value.([]any)
		if !several {
			list = []any{value}
		}
		for _, one := range list {
			if err := c.Set(name, fmt.Sprint(one)); err != nil {
				return Usage("%s in the --config file %s: %v", name, file, err)
			}
		}
	}
	return nil
}
