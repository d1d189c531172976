package ec2

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"lapse/lease"
)

// Rehearsed is what EC2 says of one action when it is called with DryRun, so that nothing is done.
type Rehearsed struct {
	Action string // as in IAM policies, without "ec2:"
	Answer Answer
	Code   string // EC2's; empty if there was nothing to rehearse on, or no answer
	Err    error  // nil if allowed
}

// Answer to a rehearsal.
type Answer string

// Answers. Only the first two say anything about permissions.
const (
	AnswerAllowed Answer = "allowed" // DryRunOperation: it would have been done
	AnswerRefused Answer = "refused" // UnauthorizedOperation: the caller may not
	AnswerUnclear Answer = "unclear" // refused for another reason, not answered, or not asked
)

// Rehearsal is what actions are rehearsed on.
type Rehearsal struct {
	Registry     string // UUID, for the tags that policies ask for
	Instance     string // of that registry; empty if there is none
	ImageID      string // to launch from
	InstanceType string
}

// errNothing says that an action needs something that is there already.
var errNothing = errors.New("there is nothing of this registry to rehearse it on")

// errIgnored says that a rehearsal was carried out, or would be.
var errIgnored = errors.New("this endpoint does not honour DryRun, so it was not called")

// errInEarnest refuses to send a rehearsal that would be carried out.
var errInEarnest = errors.New("a rehearsal without DryRun is not sent")

// Stage finds something of the registry to rehearse on: a running instance that bears its tag by value, and the image of
// that or else the newest Amazon Linux. What it does not find it leaves empty.
//
// Source: https://docs.aws.amazon.com/linux/al2023/ug/ec2.html (the SSM parameter)
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Stage(ctx context.Context, registry string) (Rehearsal, error) {
	const newest = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
	r := Rehearsal{Registry: registry, InstanceType: string(types.InstanceTypeT3Micro)}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if registry != "" {
		out, err := c.ec2.DescribeInstances(bounded, &ec2.DescribeInstancesInput{Filters: []types.Filter{
			{Name: aws.String("tag:" + lease.TagRegistry), Values: []string{registry}},
			{Name: aws.String("instance-state-name"), Values: []string{string(types.InstanceStateNameRunning)}},
		}, MaxResults: aws.Int32(pageSize)})
		if err != nil {
			return r, failed(ctx, "list instances", err)
		}
		for _, reservation := range out.Reservations {
			for _, i := range reservation.Instances {
				if !c.instance(i).Exempt() { // which policies spare
					r.Instance, r.ImageID, r.InstanceType = aws.ToString(i.InstanceId), aws.ToString(i.ImageId), string(i.InstanceType)
				}
			}
		}
	}
	if r.ImageID == "" {
		r.ImageID, _ = c.parameter(ctx, newest) // without it a launch is not rehearsed
	}
	return r, nil
}

// Rehearse calls every action that a role of ours needs, with DryRun, and says how EC2 answers. What a role needs and no
// call can show without the thing to do it on (to delete a volume, an interface, a spot request) is not among them.
//
// An endpoint that only resembles EC2 may ignore DryRun. So what looks comes first, then setting a tag to the value that
// it has; where one of these is carried out all the same, nothing that changes more is called.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html (DryRun)
func (c *Cloud) Rehearse(ctx context.Context, r Rehearsal) []Rehearsed {
	dry, tag := aws.Bool(true), []types.Tag{{Key: aws.String(lease.TagRegistry), Value: aws.String(r.Registry)}}
	ids := []string{r.Instance}
	looks := []Rehearsed{
		rehearse(ctx, "DescribeInstances", c.ec2.DescribeInstances, &ec2.DescribeInstancesInput{DryRun: dry}),
		rehearse(ctx, "DescribeNetworkInterfaces", c.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{DryRun: dry}),
		rehearse(ctx, "DescribeSpotInstanceRequests", c.ec2.DescribeSpotInstanceRequests, &ec2.DescribeSpotInstanceRequestsInput{DryRun: dry}),
		rehearse(ctx, "DescribeVolumes", c.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{DryRun: dry}),
	}
	honest := slices.ContainsFunc(looks, func(r Rehearsed) bool { return r.Answer == AnswerAllowed })
	deed := func(action, thing string, do func(action string) Rehearsed) {
		one := Rehearsed{Action: action, Answer: AnswerUnclear, Err: errNothing}
		switch {
		case !honest:
			one.Err = errIgnored
		case thing != "":
			one = do(action)
			honest = !errors.Is(one.Err, errIgnored)
		}
		looks = append(looks, one)
	}
	deed("CreateTags", r.Instance, func(action string) Rehearsed {
		return rehearse(ctx, action, c.ec2.CreateTags, &ec2.CreateTagsInput{Resources: ids, Tags: tag, DryRun: dry})
	})
	deed("DeleteTags", r.Instance, func(action string) Rehearsed {
		return rehearse(ctx, action, c.ec2.DeleteTags, &ec2.DeleteTagsInput{Resources: ids, Tags: tag, DryRun: dry})
	})
	deed("RunInstances", r.ImageID, func(action string) Rehearsed { return c.rehearseLaunch(ctx, action, r) })
	deed("TerminateInstances", r.Instance, func(action string) Rehearsed {
		return rehearse(ctx, action, c.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids, DryRun: dry})
	})
	return looks
}

// rehearseLaunch asks for one instance just as a launch would, tags included, for policies ask for them.
func (c *Cloud) rehearseLaunch(ctx context.Context, action string, r Rehearsal) Rehearsed {
	attempt := lease.Attempt{ClientToken: "doctor.1", Min: 1, Max: 1, InstanceType: r.InstanceType}
	in, err := input(lease.Launch{Token: "doctor", Request: []byte("{}"), Attempts: []lease.Attempt{attempt}}, r.Registry)
	if err != nil {
		return Rehearsed{Action: action, Answer: AnswerUnclear, Err: err}
	}
	in.ImageId, in.ClientToken, in.DryRun = aws.String(r.ImageID), nil, aws.Bool(true)
	return rehearse(ctx, action, c.ec2.RunInstances, in)
}

// rehearse makes one call, which is not sent unless it says DryRun.
func rehearse[I, O any](ctx context.Context, action string, call func(context.Context, *I, ...func(*ec2.Options)) (*O, error), in *I) Rehearsed {
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := call(bounded, in, onlyDry)
	r := Rehearsed{Action: action, Code: codeOf(err), Err: failed(ctx, "rehearse "+action, err)}
	switch {
	case err == nil:
		return Rehearsed{Action: action, Answer: AnswerUnclear, Err: errIgnored}
	case r.Code == "DryRunOperation":
		return Rehearsed{Action: action, Answer: AnswerAllowed, Code: r.Code}
	case slices.Contains([]string{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}, r.Code):
		r.Answer = AnswerRefused
	default:
		r.Answer = AnswerUnclear
	}
	return r
}

// onlyDry stops any call that would be carried out, whoever forgot to say DryRun.
func onlyDry(o *ec2.Options) {
	check := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		if !isDry(in.Parameters) {
			return middleware.InitializeOutput{}, middleware.Metadata{}, errInEarnest
		}
		return next.HandleInitialize(ctx, in)
	}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("lapse.onlyDry", check), middleware.Before)
	})
}

// isDry reports whether the input of an EC2 call says DryRun.
func isDry(in any) bool {
	field := reflect.Indirect(reflect.ValueOf(in)).FieldByName("DryRun")
	if !field.IsValid() {
		return false
	}
	dry, isBool := field.Interface().(*bool)
	return isBool && aws.ToBool(dry)
}
