package cli

import (
	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// ReasonFlag asks why something is done, for whoever reads that there.
func ReasonFlag(where string) cli.Flag {
	return &cli.StringFlag{
		Name: "reason", Usage: "record `WHY` in " + where,
		Action: func(_ *cli.Context, reason string) error { return lease.CheckReason(reason) },
	}
}
