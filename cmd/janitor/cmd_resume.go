package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/lease"
)

func resumeCommand() *ucli.Command {
	return modeCommand("resume", "end a pause: go back to what was before it", lease.Registry.Resume, nil)
}
