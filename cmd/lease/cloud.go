package main

import (
	"context"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/lease"
	"lapse/lease/ec2"
)

// lookTimeout bounds calls of EC2 that a command can do without.
const lookTimeout = 3 * time.Second

func regionFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "region", Usage: "use AWS `REGION`", DefaultText: "the AWS SDK's"}
}

// openCloud opens EC2 in a region; empty means that of the AWS settings. If a profile needs the code of an MFA device,
// it asks for it, once.
func openCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return cloud.Open(ctx, c, ec2.Settings{Region: region, Code: cli.MFACode(c)}, ec2.Options{})
}

// peekCloud opens EC2 for something that a command can do without. It never asks for a code.
func peekCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return cloud.Open(ctx, c, ec2.Settings{Region: region}, ec2.Options{})
}

// openLocation opens EC2 in the location of a record. It refuses credentials for another account.
func openLocation(ctx context.Context, c *ucli.Context, location lease.Location) (*ec2.Cloud, error) {
	opened, err := openCloud(ctx, c, location.Region)
	if err == nil && opened.Location() != location {
		err = cli.WithCode(cli.ExitRefused, fmt.Errorf("the AWS credentials are for account %s, but this needs account %s; set AWS_PROFILE to a profile of that account",
			opened.Location().Account, location.Account))
	}
	return opened, err
}

// clockSkew is how far our clock is ahead of EC2's. told is false if the AWS settings do not reach EC2, or EC2 does not
// answer soon.
func clockSkew(c *ucli.Context, region string) (skew time.Duration, told bool) {
	ctx, cancel := context.WithTimeout(c.Context, lookTimeout)
	defer cancel()
	peeked, err := peekCloud(ctx, c, region)
	if err != nil {
		return 0, false // a lease can be extended without AWS
	}
	skew, told, err = peeked.Clock(ctx)
	return skew, told && err == nil
}
