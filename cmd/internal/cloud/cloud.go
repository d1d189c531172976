// Package cloud opens EC2 for lease and janitor, by the AWS SDK's own settings and by --region and --account. It is no part
// of package cli, which the sidecar has, too: that knows no EC2.
package cloud

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/lease"
	"lapse/lease/ec2"
)

// Regions are the regions that --region names, each once. Without --region it is one empty name: the region of the AWS
// settings.
func Regions(c *ucli.Context) []string {
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

// credentialsKey is where a command keeps the credentials that it found, while it runs: one MFA code opens all regions.
const credentialsKey = "aws-credentials"

// Open opens EC2 in the region of the settings. --account names the account where an endpoint has no STS.
func Open(ctx context.Context, c *ucli.Context, s ec2.Settings, o ec2.Options) (*ec2.Cloud, error) {
	s.Credentials, _ = c.App.Metadata[credentialsKey].(aws.CredentialsProvider)
	cfg, err := s.Load(ctx)
	if err != nil {
		return nil, advice.EC2(err)
	}
	if c.App.Metadata != nil {
		c.App.Metadata[credentialsKey] = cfg.Credentials
	}
	o.Account = c.String("account")
	cloud, err := ec2.Open(ctx, cfg, s.Region, o)
	return cloud, advice.EC2(err)
}

// Elsewhere says how to see a location from here.
func Elsewhere(here, location lease.Location) string {
	if here.Account != location.Account {
		return "these credentials are for account " + here.Account
	}
	return fmt.Sprintf("add --region %s", location.Region)
}
