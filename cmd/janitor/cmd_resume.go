package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/lease"
)

func resumeCommand() *ucli.Command {
	return modeCommand("resume", "end a pause; restore the mode before it", lease.Registry.Resume, nil)
}
