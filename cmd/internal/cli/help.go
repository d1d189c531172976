package cli

import (
	"github.com/urfave/cli/v2"
)

// Categories of flags in help texts, which come in the order of the alphabet after the flags of the command's own.
const (
	registryFlags = "REGISTRY"
	settingsFlags = "SETTINGS"
)

// helpCommand explains a command, as its --help does.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "explain a command", ArgsUsage: "[COMMAND]", HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case name == "":
				return cli.ShowAppHelp(c)
			case c.Args().Len() > 1:
				return Usage("explain one command at a time: `%s help %s`", c.App.Name, name)
			case find(c.App.Commands, name) == nil:
				return line{app: c.App, path: []string{c.App.Name}}.noCommand(name)
			default:
				return cli.ShowCommandHelp(c, name)
			}
		},
	}
}

// versionCommand prints the version, as --version does.
func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			cli.ShowVersion(c)
			return nil
		},
	}
}
