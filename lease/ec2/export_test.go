package ec2

import (
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
)

// Credentials are what the Cloud signs with.
func Credentials(c *Cloud) aws.CredentialsProvider { return c.ec2.Options().Credentials }

// Believing is a Cloud that takes every answer for one of EC2.
func Believing(cfg aws.Config) *Cloud {
	return &Cloud{location: lease.Location{Account: "1", Region: cfg.Region}, ec2: ec2.NewFromConfig(cfg), pace: newPace(1, math.Inf(1)), now: time.Now}
}
