package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/lease"
)

func pauseCommand() *ucli.Command {
	command := modeCommand("pause", "stop all terminations at once", toMode(lease.ModePaused), nil)
	command.Description += "\n\n   janitor pause --reason \"incident 4711: wrong AMI, keep the evidence\""
	return command
}
