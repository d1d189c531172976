package enforce

import (
	"context"
	"time"

	"lapse/lease"
)

// Cloud is what enforcing needs of EC2 in one location.
type Cloud interface {
	// Describe looks instances up by id. An id that EC2 does not know is absent from the answer.
	Describe(ctx context.Context, ids []string) (lease.Listing, error)
	// Reserve waits until EC2's limits allow a call that terminates n instances, and reserves it. It comes before everything
	// that must be fresh when the call is made.
	Reserve(ctx context.Context, n int) error
	// Terminate terminates at most 50 instances of one zone and answers for each of them.
	Terminate(ctx context.Context, ids []string) []lease.Termination
	// Tag sets the same tags on instances, volumes and interfaces, and answers for each. It waits for its share of EC2's
	// limits, from which nothing else here takes.
	Tag(ctx context.Context, resources []string, tags map[string]string) []lease.Tagging
	// DescribeLeftovers looks leftovers up by kind and id. What EC2 does not know is absent from the answer.
	DescribeLeftovers(ctx context.Context, wanted []lease.Leftover) (lease.LeftoverListing, error)
	// Remove deletes or cancels one leftover, when EC2's limits allow it.
	Remove(ctx context.Context, x lease.Leftover) lease.Removal
}

// Registry is what enforcing writes through. Each write compares the record's revision, the election and the registry as
// given: it fails with a [lease.ConflictError] if the record changed, and with a [lease.DeposedError] if somebody else leads
// or the registry changed.
type Registry interface {
	PutLease(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error)
	// Revoke is PutLease that, for an inferred cause, also requires that no heartbeat holds.
	Revoke(ctx context.Context, reg lease.Registry, l lease.Lease, lost bool) (lease.Lease, error)
	PutLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) (lease.Launch, error)
	DeleteLease(ctx context.Context, reg lease.Registry, l lease.Lease) error
	DeleteLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) error
	// Steady is since when the registry has answered without a stall that is long enough to matter, by the monotonic clock;
	// now if it does not answer.
	Steady() time.Time
}
