package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
)

// lookTimeout bounds calls of EC2 that a command can do without.
const lookTimeout = 3 * time.Second

func regionFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "region", Usage: "use AWS `REGION`", DefaultText: "the AWS SDK's"}
}

// regionsOf are the regions that --region names, each once. Without --region it is one empty name: the region of the
// AWS settings.
func regionsOf(c *ucli.Context) []string {
	var regions []string
	for _, region := range c.StringSlice("region") {
		if !slices.Contains(regions, region) {
			regions = append(regions, region)
		}
	}
	if len(regions) == 0 {
		return []string{""}
	}
	return regions
}

// openCloud opens EC2 in a region; empty means that of the AWS settings. If a profile needs the code of an MFA device,
// it asks for it, once.
func openCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return openWith(ctx, c, ec2.Settings{Region: region, Code: cli.MFACode(c)})
}

// peekCloud opens EC2 for something that a command can do without. It never asks for a code.
func peekCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return openWith(ctx, c, ec2.Settings{Region: region})
}

// credentialsKey is where a command keeps the credentials that it found, while it runs.
const credentialsKey = "aws-credentials"

func openWith(ctx context.Context, c *ucli.Context, s ec2.Settings) (*ec2.Cloud, error) {
	s.Credentials, _ = c.App.Metadata[credentialsKey].(aws.CredentialsProvider)
	cfg, err := s.Load(ctx)
	if err != nil {
		return nil, coded(err)
	}
	if c.App.Metadata != nil {
		c.App.Metadata[credentialsKey] = cfg.Credentials
	}
	region := s.Region
	cloud, err := ec2.Open(ctx, cfg, region, ec2.Options{Account: c.String("account")})
	return cloud, coded(err)
}

// openLocation opens EC2 in the location of a record. It refuses credentials for another account.
func openLocation(ctx context.Context, c *ucli.Context, location lease.Location) (*ec2.Cloud, error) {
	cloud, err := openCloud(ctx, c, location.Region)
	if err == nil && cloud.Location() != location {
		err = cli.WithCode(cli.ExitRefused, &locationError{want: location, have: cloud.Location()})
	}
	return cloud, err
}

// locationError says that the AWS settings are for another account.
type locationError struct{ want, have lease.Location }

func (e *locationError) Error() string {
	return "the AWS credentials are for account " + e.have.Account + ", but this needs account " + e.want.Account +
		"; set AWS_PROFILE to a profile of that account"
}

// coded gives an error of EC2 its exit code, and says what to do about it.
func coded(err error) error {
	err = advice.EC2(err)
	switch {
	case err == nil:
		return nil
	case is[*launch.UnknownOutcomeError](err), is[*launch.UnfinishedError](err): // first, since they wrap others
		return cli.WithCode(cli.ExitUnknown, err)
	case is[*ec2.SettingsError](err), is[*launch.RequestError](err):
		return cli.WithCode(cli.ExitUsage, err)
	case is[*ec2.UnreachableError](err):
		return cli.WithCode(cli.ExitMissing, err)
	case is[*launch.UnattendedError](err), is[*ec2.ClockError](err), is[*launch.RefusedError](err), is[*ec2.AnswerError](err),
		is[*launch.StaleTokenError](err), is[*launch.LocationError](err), is[*ec2.AccountError](err):
		return cli.WithCode(cli.ExitRefused, err)
	}
	return err
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// clockSkew is how far our clock is ahead of EC2's. told is false if the AWS settings do not reach EC2, or EC2 does not
// answer soon.
func clockSkew(c *ucli.Context, region string) (skew time.Duration, told bool) {
	ctx, cancel := context.WithTimeout(c.Context, lookTimeout)
	defer cancel()
	cloud, err := peekCloud(ctx, c, region)
	if err != nil {
		return 0, false // a lease can be extended without AWS
	}
	skew, told, err = cloud.Clock(ctx)
	return skew, told && err == nil
}
