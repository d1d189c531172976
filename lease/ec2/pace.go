package ec2

import (
	"context"

	"golang.org/x/time/rate"
)

// EC2's token buckets, for one account and region. Figures that EC2 raises on request are a lower bound of what there
// is.
//
// Source: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
const (
	describeBurst, describeRefill                     = 100, 20 // requests, requests a second
	terminateBurst, terminateRefill                   = 100, 5  // requests, requests a second
	terminateInstancesBurst, terminateInstancesRefill = 1000, 20
	tagBurst, tagRefill                               = 100, 10 // CreateTags requests, requests a second
	mutateBurst, mutateRefill                         = 50, 5   // requests, requests a second, of actions without a bucket of their own
)

// DefaultShare of the buckets.
const DefaultShare = 0.5

// pace holds calls back to a share of EC2's buckets, which it starts with full.
type pace struct {
	describes  *rate.Limiter
	terminates *rate.Limiter
	instances  *rate.Limiter // instances named by TerminateInstances
	tags       *rate.Limiter // CreateTags calls
	removes    *rate.Limiter // of leftovers
}

func newPace(share, speed float64) pace {
	if speed <= 0 {
		speed = 1
	}
	if share <= 0 || share > 1 {
		share = DefaultShare
	}
	// A bucket must hold the largest single call, or that call would wait forever.
	bucket := func(burst, refill float64, least int) *rate.Limiter {
		return rate.NewLimiter(min(rate.Limit(refill*share*speed), rate.Inf), max(least, int(burst*share)))
	}
	return pace{
		describes:  bucket(describeBurst, describeRefill, 1),
		terminates: bucket(terminateBurst, terminateRefill, 1),
		instances:  bucket(terminateInstancesBurst, terminateInstancesRefill, MaxTerminate),
		tags:       bucket(tagBurst, tagRefill, 1),
		removes:    bucket(mutateBurst, mutateRefill, 1),
	}
}

// terminate waits until one call that names n instances may be made.
func (p pace) terminate(ctx context.Context, n int) error {
	if err := p.instances.WaitN(ctx, n); err != nil {
		return err
	}
	return p.terminates.Wait(ctx)
}
