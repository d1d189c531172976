package ec2

import (
	"context"
	"fmt"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"lapse/lease"
)

// dateStep is what EC2's Date counts in: full seconds, rounded down.
//
// Source: https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats
const dateStep = time.Second

type skewKey struct{}

// withSkew measures, at each attempt of a call, how far our wall clock is ahead of EC2's Date: ours at the middle of
// that attempt's round trip, EC2's in the middle of the second that it names. Pauses between retries do not count.
func (c *Cloud) withSkew(o *ec2.Options) {
	measure := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		began, started := c.now().Round(0), time.Now()
		out, metadata, err := next.HandleDeserialize(ctx, in)
		c.recognise(out)
		if served, dated := awsmiddleware.GetServerTime(metadata); dated {
			middle := began.Add(time.Since(started) / 2)
			metadata.Set(skewKey{}, middle.Sub(served.Add(dateStep/2)))
		}
		return out, metadata, err
	}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		// Just around the SDK's own reading of Date, so that reading a long answer does not count either.
		return stack.Deserialize.Insert(middleware.DeserializeMiddlewareFunc("lapse.skew", measure),
			(&awsmiddleware.RecordResponseTiming{}).ID(), middleware.Before)
	})
}

// skewOf returns what [Cloud.withSkew] measured.
func skewOf(metadata middleware.Metadata) (skew time.Duration, dated bool) {
	skew, dated = metadata.Get(skewKey{}).(time.Duration)
	return skew, dated
}

// noInstance is an id that EC2 gives to no instance.
const noInstance = "i-00000000000000000"

// Clock measures, with one cheap call, how far our wall clock is ahead of EC2's. dated is false if the endpoint tells no
// time.
//
// Errors: [UnreachableError] within 10 s, or AWS's own.
func (c *Cloud) Clock(ctx context.Context) (skew time.Duration, dated bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	listing, err := c.list(bounded, "instance-id", []string{noInstance})
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = &UnreachableError{Op: "read EC2's clock", Err: err}
	}
	return listing.Skew, listing.Dated, err
}

// FindsByToken fails if the endpoint does not find instances by client token. One that does not know them ignores them in
// RunInstances too, and then a launch that is resumed launches twice. EC2 knows them; moto 5 does not, and shows it as soon
// as there is an instance, by an error. Others ignore the question, and list every instance.
func (c *Cloud) FindsByToken(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	listing, err := c.list(bounded, "client-token", []string{"lapse-doctor"})
	if n := len(listing.Instances); err == nil && n > 0 {
		err = fmt.Errorf("it listed %d instances for a client token that no instance has", n)
	}
	return err
}

// ClockError refuses what sets a date, because the clock here is wrong: leases would end at other times than they say.
type ClockError struct {
	Skew time.Duration // how far our clock is ahead of EC2's
}

func (e *ClockError) Error() string {
	direction := "ahead of"
	if e.Skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("the clock of this machine is %s %s EC2's, more than %s: correct it, for example with chrony",
		e.Skew.Abs().Round(time.Second), direction, lease.MaxSkew)
}
