package ec2

import "github.com/aws/aws-sdk-go-v2/aws"

// Credentials are what the Cloud signs with.
func Credentials(c *Cloud) aws.CredentialsProvider { return c.ec2.Options().Credentials }
