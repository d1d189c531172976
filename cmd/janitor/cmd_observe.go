package main

import (
	ucli "github.com/urfave/cli/v2"

	"lapse/lease"
)

func observeCommand() *ucli.Command {
	return modeCommand("observe", "let janitors report only", toMode(lease.ModeObserve), nil)
}
