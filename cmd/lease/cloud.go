package main

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
)

// lookTimeout bounds what is asked of EC2 where a command can do without.
const lookTimeout = 3 * time.Second

func regionFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "region", Usage: "use AWS `REGION`", DefaultText: "the AWS SDK's"}
}

// regionsOf are the regions that --region names, each once; if it names none, that of the AWS settings, as an empty name.
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

// openCloud opens EC2 in a region; empty means that of the AWS settings. Where a profile wants the code of an MFA device, it
// asks for it, once.
func openCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return openWith(ctx, c, ec2.Settings{Region: region, Code: cli.MFACode(c)})
}

// peekCloud opens EC2 for what a command can do without, and asks nobody.
func peekCloud(ctx context.Context, c *ucli.Context, region string) (*ec2.Cloud, error) {
	return openWith(ctx, c, ec2.Settings{Region: region})
}

// credentialsKey is where a run of a command keeps the credentials that it found.
const credentialsKey = "aws-credentials"

func openWith(ctx context.Context, c *ucli.Context, s ec2.Settings) (*ec2.Cloud, error) {
	s.Credentials, _ = c.App.Metadata[credentialsKey].(aws.CredentialsProvider)
	cfg, err := s.Load(ctx)
	if err != nil {
		return nil, advice.EC2(err)
	}
	if c.App.Metadata != nil {
		c.App.Metadata[credentialsKey] = cfg.Credentials
	}
	region := s.Region
	cloud, err := ec2.Open(ctx, cfg, region, ec2.Options{Account: c.String("account")})
	return cloud, advice.EC2(err)
}

// openLocation opens EC2 where something on record is. Other credentials than those of its account are refused.
func openLocation(ctx context.Context, c *ucli.Context, location lease.Location) (*ec2.Cloud, error) {
	cloud, err := openCloud(ctx, c, location.Region)
	if err == nil && cloud.Location() != location {
		err = cli.WithCode(cli.ExitRefused, &locationError{want: location, have: cloud.Location()})
	}
	return cloud, err
}

// locationError says that the AWS settings are those of another account.
type locationError struct{ want, have lease.Location }

func (e *locationError) Error() string {
	return "the AWS credentials are of account " + e.have.Account + ", and this needs account " + e.want.Account +
		": set AWS_PROFILE to one of that"
}

// clockSkew is how far our clock is ahead of EC2's, as far as the AWS settings allow to ask, soon. told is false where EC2
// does not tell.
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
