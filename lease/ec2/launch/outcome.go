package launch

import (
	"context"
	"errors"
	"slices"

	"lapse/lease"
	"lapse/lease/ec2"
)

// outcome is what one send of an attempt came to.
type outcome int

const (
	unknown  outcome = iota // EC2 may or may not have created something
	launched                // EC2 answered with instances
	unsent                  // rejected before EC2 processed it
	spent                   // EC2 says that the client token was used: an earlier send was accepted
	full                    // refused for lack of capacity: elsewhere, or fewer, may do
	denied                  // refused for a reason that holds everywhere
)

// judge says what a send came to. What is not known to be definite is unknown.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func judge(instances []lease.Instance, err error) outcome {
	answer := answerOf(err)
	switch code := answer.Code; {
	case err == nil && len(instances) > 0:
		return launched
	case answer.Throttled():
		return unsent
	case code == "IdempotentParameterMismatch", code == "IdempotentInstanceTerminated":
		return spent
	case isCapacity(code): // definite although EC2 sends some with HTTP status 500
		return full
	case answer.Refused():
		return denied
	}
	return unknown
}

// answerOf is what EC2 answered to a call that failed; the zero one if nothing is known to come from EC2.
func answerOf(err error) *ec2.AnswerError {
	answer := &ec2.AnswerError{}
	errors.As(err, &answer)
	return answer
}

// isCapacity reports whether an error code means that what was asked for is not to be had there, or not so much of it.
// Quotas of the Region count, too: fewer may fit.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func isCapacity(code string) bool {
	return slices.Contains([]string{
		"IncompatibleHostRequirements", "InsufficientAddressCapacity", "InsufficientCapacity", "InsufficientCapacityOnHost",
		"InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
		"InsufficientReservedInstanceCapacity", "InsufficientVolumeCapacity", "InstanceLimitExceeded", "MaxIOPSLimitExceeded",
		"MaxSpotInstanceCountExceeded", "NetworkInterfaceLimitExceeded", "ReservationCapacityExceeded", "SpotMaxPriceTooLow",
		"UnavailableHostRequirements", "UnfulfillableCapacity", "Unsupported", "VcpuLimitExceeded", "VolumeLimitExceeded",
	}, code)
}

// isOfType reports whether an error code may mean that the instance type is the wrong one: the image forbids it or has
// another architecture, or it takes fewer interfaces or volumes. These codes mean other things as well, so they lead to
// other types alone, and not to other subnets.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceImageInstanceTypeSpecification.html
func isOfType(code string) bool {
	return slices.Contains([]string{
		"AttachmentLimitExceeded", "InstanceCreditSpecification.NotSupported", "InvalidInstanceType", "InvalidParameterCombination",
		"InvalidParameterValue", "PrivateIpAddressLimitExceeded", "UnsupportedHibernationConfiguration", "UnsupportedHostConfiguration",
		"UnsupportedInstanceTypeOnHost", "UnsupportedOperation", "UnsupportedTenancy",
	}, code)
}

// next is the attempt that follows a refusal, or an answer of fewer than asked for; false if none can do better.
func next(l lease.Launch) (lease.Launch, bool) {
	last := l.Last()
	if last.Outcome == lease.OutcomeRefused && !isCapacity(last.Code) {
		untried := slices.ContainsFunc(l.InstanceTypes, func(instanceType string) bool {
			return !slices.ContainsFunc(l.Attempts, func(a lease.Attempt) bool { return a.InstanceType == instanceType })
		})
		if !isOfType(last.Code) || !untried {
			return l, false
		}
	}
	return l.Next()
}

// hear puts on record what EC2 answered. It returns an error if a replay is of no use.
func (r *run) hear(ctx context.Context, clientToken string, instances []lease.Instance, err error) error {
	r.lastErr = err
	switch judge(instances, err) {
	case launched:
		return r.heardInstances(ctx, clientToken, instances)
	case unsent:
		r.replays++
		return r.heard(ctx, EventThrottled, clientToken, err, lease.Launch.Unsent)
	case full, denied:
		return r.heardRefusal(ctx, clientToken, err)
	case spent:
		if noteErr := r.heard(ctx, EventDoubt, clientToken, err, lease.Launch.Doubt); noteErr != nil {
			return noteErr
		}
		return err // always the same; the janitor settles it
	case unknown:
	}
	if ctx.Err() != nil { // nothing can be written any longer, and nothing has to be: the send is on record
		return err
	}
	r.replays++
	if err == nil {
		r.lastErr = errors.New("EC2 answered without instances")
	}
	return r.heard(ctx, EventDoubt, clientToken, r.lastErr, lease.Launch.Doubt)
}

// heard notes an answer that settles nothing.
func (r *run) heard(ctx context.Context, kind EventKind, clientToken string, answer error, change func(lease.Launch) lease.Launch) error {
	err := r.note(ctx, clientToken, change)
	r.tell(kind, r.launch, answer.Error())
	return err
}

func (r *run) heardInstances(ctx context.Context, clientToken string, instances []lease.Instance) error {
	r.remember(instances)
	ids := make([]string, 0, len(instances))
	for _, i := range instances {
		ids = append(ids, i.ID)
	}
	r.replays = 0
	err := r.note(ctx, clientToken, func(l lease.Launch) lease.Launch { return l.Launched(ids) })
	r.tell(EventLaunched, r.launch, "EC2 launched "+howMany(len(ids)))
	return err
}

// heardRefusal notes a refusal. It counts only if no earlier send of the attempt is in doubt. One that leaves nowhere to
// go and nothing made closes the launch in the same write, with EC2's own sentence: so the token answers the same
// however often it is used.
func (r *run) heardRefusal(ctx context.Context, clientToken string, answer error) error {
	code := answerOf(answer).Code
	err := r.note(ctx, clientToken, func(l lease.Launch) lease.Launch {
		l = l.Refused(code)
		_, more := next(l)
		if l.Last().Outcome != lease.OutcomeRefused || len(l.Instances()) > 0 || more {
			return l
		}
		closed, err := l.Close(r.config.Now(), code+": "+answerOf(answer).Message)
		if err != nil {
			return l
		}
		return closed
	})
	r.tell(EventRefused, r.launch, answer.Error())
	switch {
	case err != nil:
		return err
	case !inDoubt(r.launch.Last()):
		r.replays = 0
	case isCapacity(code): // room may come, and with it the answer
		r.replays++
	default:
		return answer
	}
	return nil
}
