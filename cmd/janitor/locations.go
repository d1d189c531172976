package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
	"lapse/lease/ec2"
)

// locationFlags say which regions are swept, and which share of EC2's request limits the janitor may use.
func locationFlags() []ucli.Flag {
	return []ucli.Flag{
		cli.AccountFlag(),
		&ucli.StringSliceFlag{
			Name: "region", Usage: "sweep `REGION`; repeatable", DefaultText: "the AWS SDK's own setting",
			EnvVars: []string{"LAPSE_REGION"},
		},
		&ucli.Float64Flag{
			Name: "ec2-share", Value: 0.5, Usage: "use at most `SHARE` of EC2's request limits", Category: ec2Flags, EnvVars: []string{"LAPSE_EC2_SHARE"},
		},
		&ucli.BoolFlag{
			Name: "ec2-unpaced", Usage: "send requests unpaced, to endpoints without request limits", Category: ec2Flags, EnvVars: []string{"LAPSE_EC2_UNPACED"},
		},
	}
}

// regions are the requested regions. Without any, it is one empty name: the region of the AWS SDK's own setting.
func regions(c *ucli.Context) []string {
	if asked := c.StringSlice("region"); len(asked) > 0 {
		return asked
	}
	return []string{""}
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
	settings := ec2.Settings{Log: log, Code: cli.MFACode(c)}
	for _, region := range regions {
		settings.Region = region
		cfg, err := settings.Load(c.Context)
		if err != nil {
			return nil, coded(err)
		}
		settings.Credentials = cfg.Credentials // one code opens all regions
		cloud, err := ec2.Open(c.Context, cfg, region, ec2.Options{Account: c.String("account"), Share: share, Speed: speed, Observed: called})
		if err != nil {
			return nil, coded(err)
		}
		if slices.ContainsFunc(clouds, func(other janitor.Cloud) bool { return other.Location() == cloud.Location() }) {
			return nil, cli.Usage("--region %s is given twice", cloud.Location().Region)
		}
		clouds = append(clouds, cloud)
	}
	return clouds, nil
}

// coded gives an error of EC2 its exit code, and says what to do about it.
func coded(err error) error {
	err = advice.EC2(err)
	if _, ok := errors.AsType[*ec2.SettingsError](err); ok {
		return cli.WithCode(cli.ExitUsage, err)
	}
	if _, ok := errors.AsType[*ec2.UnreachableError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*ec2.AccountError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	return err
}

// leaderName differs for every janitor, also for an earlier one on the same machine.
func leaderName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + uuid.NewString()[:8]
}
