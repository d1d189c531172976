package ec2

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"lapse/lease"
)

// RunInstances calls once. The SDK must not retry: it returns the last error only, and a definite one would hide a lost
// answer before it. What is sent, and when it may be, package launch decides.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) RunInstances(ctx context.Context, in *ec2.RunInstancesInput, timeout time.Duration) ([]lease.Instance, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := c.ec2.RunInstances(bounded, in, func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, failed(ctx, "run instances", err)
	}
	instances := make([]lease.Instance, 0, len(out.Instances))
	for _, i := range out.Instances {
		instances = append(instances, c.instance(i))
	}
	return instances, nil
}

// LaunchTemplateVersions are the versions of a launch template that a request asks for.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) LaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput) ([]types.LaunchTemplateVersion, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeLaunchTemplateVersions(bounded, in)
	if err != nil {
		return nil, failed(ctx, "read the launch template", err)
	}
	return out.LaunchTemplateVersions, nil
}

// Image is the image id that an SSM parameter holds; empty if it holds none.
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Image(ctx context.Context, parameter string) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ssm.GetParameter(bounded, &ssm.GetParameterInput{Name: aws.String(parameter)})
	if err != nil {
		return "", failed(ctx, "read the SSM parameter "+parameter, err)
	}
	if out.Parameter == nil || !strings.HasPrefix(aws.ToString(out.Parameter.Value), "ami-") {
		return "", nil
	}
	return aws.ToString(out.Parameter.Value), nil
}
