package main

import (
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/google/uuid"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/janitor"
	"lapse/lease"
	"lapse/lease/ec2"
)

// sweptRegion is what --region says where regions are swept.
const sweptRegion = "sweep `REGION`; repeatable"

// locationFlags say for which regions, with what is done to them, and which share of EC2's request limits the janitor may use.
func locationFlags(region string) []ucli.Flag {
	return []ucli.Flag{
		cli.AccountFlag(),
		&ucli.StringSliceFlag{Name: "region", Usage: region, DefaultText: "the AWS SDK's own setting"},
		&ucli.Float64Flag{Name: "ec2-share", Value: 0.5, Usage: "use at most `SHARE` of EC2's request limits", Category: ec2Flags},
		&ucli.BoolFlag{Name: "ec2-unpaced", Usage: "send requests unpaced, to endpoints without request limits", Category: ec2Flags},
	}
}

// locations opens EC2 in each region. called, unless it is nil, is called after each request.
func locations(c *ucli.Context, log *slog.Logger, regions []string, called func(location lease.Location, action, code string, took time.Duration)) ([]janitor.Cloud, error) {
	share := c.Float64("ec2-share")
	if !(share > 0 && share <= 1) { // also refuses NaN
		return nil, cli.Usage("--ec2-share %g must be above 0 and at most 1", share)
	}
	speed := 1.0
	if c.Bool("ec2-unpaced") {
		speed = math.Inf(1)
	}
	var clouds []janitor.Cloud
	for _, region := range regions {
		settings, options := ec2.Settings{Region: region, Log: log, Code: cli.MFACode(c)}, ec2.Options{Share: share, Speed: speed, Observed: called}
		opened, err := cloud.Open(c.Context, c, settings, options)
		if err != nil {
			return nil, err
		}
		clouds = append(clouds, opened)
	}
	return clouds, nil
}

// leaderName differs for every janitor, also for an earlier one on the same machine.
func leaderName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + uuid.NewString()[:8]
}
