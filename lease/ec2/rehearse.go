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
	Need   Need
	Answer Answer
	On     string   // the ended instance on which it was tried; empty if on none
	Code   string   // EC2's; empty if there was nothing to rehearse on, or no answer
	Err    error    // nil if allowed
	Made   []string // instances that an endpoint made all the same, which no lease has
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
	Ended        string // an instance of that registry that is terminated; empty if EC2 no longer describes one
	Expires      string // what that bears as its second key; empty if nothing
	ImageID      string // to launch from; empty if none is known
	InstanceType string
	Launch       *ec2.RunInstancesInput // what a launch of these would send, by package launch; nil: none is rehearsed
}

// errNothing says that an action needs an instance to which nothing can happen any longer.
var errNothing = errors.New("EC2 shows no terminated instance of this registry to try it on, and Lapse never tries it on a living one")

// errNoKey says that an action needs something that bears the second key.
var errNoKey = errors.New("EC2 shows no terminated instance of this registry that bears " + lease.TagExpires + ", and Lapse tries no other value")

// ErrNoImage says that a launch needs something to launch from.
var ErrNoImage = errors.New("no image is known to launch from")

// errIgnored says that a rehearsal was carried out, or would be.
var errIgnored = errors.New("this endpoint ignores DryRun, so Lapse tries no change on it")

// errInEarnest refuses to send a rehearsal that would be carried out.
var errInEarnest = errors.New("a rehearsal without DryRun is not sent")

// Stage finds something to rehearse on: an instance that bears the registry's tag by value and has ended, for which
// changes come too late, and the image of an instance or else the newest Amazon Linux. What it does not find it leaves
// empty. EC2 shows the ended for about an hour, and their tags perhaps for less.
//
// Source: https://docs.aws.amazon.com/linux/al2023/ug/ec2.html (the SSM parameter) and
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html (what is shown of the ended)
//
// Errors: [UnreachableError], or AWS's own.
func (c *Cloud) Stage(ctx context.Context, registry string) (Rehearsal, error) {
	const newest = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
	r := Rehearsal{Registry: registry, InstanceType: string(types.InstanceTypeT3Micro)}
	for _, state := range []types.InstanceStateName{types.InstanceStateNameRunning, types.InstanceStateNameTerminated} {
		if err := c.stage(ctx, &r, state); err != nil {
			return r, err
		}
	}
	if r.ImageID == "" {
		r.ImageID, _ = c.Image(ctx, newest) // without it a launch is not rehearsed
	}
	return r, nil
}

// stage looks at the first instances of the registry in one state. It checks again what the filter asks for, since an
// endpoint that only resembles EC2 may ignore the filter.
func (c *Cloud) stage(ctx context.Context, r *Rehearsal, state types.InstanceStateName) error {
	if r.Registry == "" {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := c.ec2.DescribeInstances(bounded, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + lease.TagRegistry), Values: []string{r.Registry}},
		{Name: aws.String("instance-state-name"), Values: []string{string(state)}},
	}, MaxResults: aws.Int32(pageSize)})
	if err != nil {
		return failed(ctx, "list instances", err)
	}
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			seen := c.instance(i)
			if !seen.ManagedBy(r.Registry) || seen.Exempt() { // which policies spare
				continue
			}
			if expires := seen.Tags[lease.TagExpires]; seen.State == lease.InstanceTerminated && (r.Expires == "" || expires != "") {
				r.Ended, r.Expires = seen.ID, expires
			}
			if r.ImageID == "" {
				r.ImageID, r.InstanceType = aws.ToString(i.ImageId), string(i.InstanceType)
			}
		}
	}
	return nil
}

// Rehearse calls every action that the roles need, or any role of ours if none is named, with DryRun, and says how EC2
// answers. What a role needs and no call can show without the thing to do it on (to delete a volume, an interface, a spot
// request) is not among them.
//
// An endpoint that only resembles EC2 may ignore DryRun, for one action or for all. So nothing is tried on what lives:
// tags are set, to what they are already, and removed, and termination is asked for, on an instance that has ended. To
// terminate it once more is allowed and does nothing. AWS documents that, but not that DryRun then answers as it does of
// the living: anything but its two answers is unclear. What looks comes first, then what no longer hurts, and a launch
// last; where one of these is carried out all the same, nothing is called after it.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html (DryRun) and
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html (idempotent)
func (c *Cloud) Rehearse(ctx context.Context, r Rehearsal, roles ...Role) []Rehearsed {
	dry := aws.Bool(true)
	all := []Rehearsed{
		rehearse(ctx, Need{Action: "DescribeInstances"}, c.ec2.DescribeInstances, &ec2.DescribeInstancesInput{DryRun: dry}),
		rehearse(ctx, Need{Action: "DescribeNetworkInterfaces"}, c.ec2.DescribeNetworkInterfaces, &ec2.DescribeNetworkInterfacesInput{DryRun: dry}),
		rehearse(ctx, Need{Action: "DescribeSpotInstanceRequests"}, c.ec2.DescribeSpotInstanceRequests, &ec2.DescribeSpotInstanceRequestsInput{DryRun: dry}),
		rehearse(ctx, Need{Action: "DescribeVolumes"}, c.ec2.DescribeVolumes, &ec2.DescribeVolumesInput{DryRun: dry}),
	}
	honest := slices.ContainsFunc(all, func(r Rehearsed) bool { return r.Answer == AnswerAllowed })
	for _, d := range c.deeds(r) {
		one := Rehearsed{Need: d.need, Answer: AnswerUnclear, Err: d.missing}
		switch {
		case len(roles) > 0 && !slices.ContainsFunc(roles, func(role Role) bool { return slices.Contains(role.Needs(), d.need) }):
			continue
		case !honest:
			one.Err = errIgnored
		case d.missing == nil:
			one = d.do(ctx, d.need)
			one.On = d.on
			honest = !errors.Is(one.Err, errIgnored)
		}
		all = append(all, one)
	}
	return all
}

// deed is an action that would change something.
type deed struct {
	need    Need
	on      string // the ended instance; empty if it is done on none
	missing error  // why it cannot be tried; nil if it can
	do      func(context.Context, Need) Rehearsed
}

// deeds are those that can be rehearsed, in the order in which that does least harm.
func (c *Cloud) deeds(r Rehearsal) []deed {
	dry, ids, ended, dated, image := aws.Bool(true), []string{r.Ended}, error(nil), error(nil), error(nil)
	if r.Ended == "" {
		ended = errNothing
	}
	if dated = ended; dated == nil && r.Expires == "" {
		dated = errNoKey
	}
	if r.Launch == nil {
		image = ErrNoImage
	}
	tags := func(key, value string) []types.Tag { return TagList(map[string]string{key: value}) }
	return []deed{
		{Need{"CreateTags", lease.TagRegistry}, r.Ended, ended, func(ctx context.Context, n Need) Rehearsed {
			return rehearse(ctx, n, c.ec2.CreateTags, &ec2.CreateTagsInput{Resources: ids, Tags: tags(n.Tag, r.Registry), DryRun: dry})
		}},
		{Need{"CreateTags", lease.TagExpires}, r.Ended, dated, func(ctx context.Context, n Need) Rehearsed {
			return rehearse(ctx, n, c.ec2.CreateTags, &ec2.CreateTagsInput{Resources: ids, Tags: tags(n.Tag, r.Expires), DryRun: dry})
		}},
		{Need{"DeleteTags", lease.TagRegistry}, r.Ended, ended, func(ctx context.Context, n Need) Rehearsed {
			return rehearse(ctx, n, c.ec2.DeleteTags, &ec2.DeleteTagsInput{Resources: ids, Tags: tags(n.Tag, r.Registry), DryRun: dry})
		}},
		{Need{Action: "TerminateInstances"}, r.Ended, ended, func(ctx context.Context, n Need) Rehearsed {
			return rehearse(ctx, n, c.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids, DryRun: dry})
		}},
		{Need{Action: "RunInstances"}, "", image, func(ctx context.Context, n Need) Rehearsed { return c.rehearseLaunch(ctx, n, r) }},
	}
}

// rehearseLaunch asks for one instance just as a launch would, tags included, for policies ask for them.
func (c *Cloud) rehearseLaunch(ctx context.Context, need Need, r Rehearsal) Rehearsed {
	in := *r.Launch
	in.ClientToken, in.DryRun = nil, aws.Bool(true)
	var made []string
	call := func(ctx context.Context, in *ec2.RunInstancesInput, o ...func(*ec2.Options)) (*ec2.RunInstancesOutput, error) {
		out, err := c.ec2.RunInstances(ctx, in, o...)
		if err == nil { // DryRun is always answered by an error
			for _, i := range out.Instances {
				made = append(made, aws.ToString(i.InstanceId))
			}
		}
		return out, err
	}
	one := rehearse(ctx, need, call, &in)
	one.Made = made
	return one
}

// rehearse makes one call, which is not sent unless it says DryRun.
func rehearse[I, O any](ctx context.Context, need Need, call func(context.Context, *I, ...func(*ec2.Options)) (*O, error), in *I) Rehearsed {
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := call(bounded, in, onlyDry)
	r := Rehearsed{Need: need, Code: codeOf(err), Err: failed(ctx, "rehearse "+need.String(), err)}
	switch {
	case err == nil:
		return Rehearsed{Need: need, Answer: AnswerUnclear, Err: errIgnored}
	case r.Code == "DryRunOperation":
		return Rehearsed{Need: need, Answer: AnswerAllowed, Code: r.Code}
	case unauthorized(err):
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
