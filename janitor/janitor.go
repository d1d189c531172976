// Package janitor ends the instances whose leases have lapsed and what failed launches left behind, and never anything
// else. It observes (package observe), decides (package plan) and acts, in three parts that know nothing of each
// other.
//
//   - janitor.go: what it needs of others: [Cloud], [Leadership].
//   - run.go: [Janitor], which campaigns; leader.go: the leader's one loop, on which nothing blocks; liveness.go: how it
//     shows that it works; timetable.go: when it sweeps.
//   - reconcile.go: one sweep, observe, plan, checkpoint, enforce; checkpoint.go: what says that it happened; publish.go: the plan beside it, unless armed; react.go: between sweeps it reacts in seconds. worker.go:
//     what runs beside the loop, so that no location waits for another.
//   - preview.go: [Preview], a look and a decision that change nothing. follow.go: what a replica does that does not lead.
//   - act.go: the two actors, one armed and one that only reports; kill.go: the one function that ends an instance;
//     remove.go: what outlived instances that nobody ever leased; tags.go: the second key, on the instances themselves.
//   - event.go: [Observer], and the events that verdicts lead to; package audit: [audit.Event], what is told of everything that
//     happens, what others do, and the audit log; count.go: what is counted.
//
// The janitor knows neither AWS nor etcd: [Cloud] and [Leadership] are what it needs of them.
package janitor

import (
	"context"

	"lapse/janitor/observe"
	"lapse/lease"
)

// Cloud is EC2 in one location.
type Cloud interface {
	observe.Cloud
	// Reserve waits until EC2's limits allow a call that ends n instances, and reserves it. It comes before everything
	// that must be fresh when the call is made.
	Reserve(ctx context.Context, n int) error
	// Terminate ends at most 50 instances of one zone and answers for each of them.
	Terminate(ctx context.Context, ids []string) []lease.Termination

	// Tag sets the same tags on instances, volumes and interfaces, and answers for each. It waits for its share of EC2's
	// limits, from which nothing else here takes.
	Tag(ctx context.Context, resources []string, tags map[string]string) []lease.Tagging

	// DescribeLeftovers looks leftovers up by kind and id. What EC2 does not know is absent from the answer.
	DescribeLeftovers(ctx context.Context, wanted []lease.Leftover) (lease.LeftoverListing, error)
	// Remove deletes or cancels one leftover, when EC2's limits allow it.
	Remove(ctx context.Context, x lease.Leftover) lease.Removal
}

// Leadership is an elected leader's hold on the registry. Each write compares the record's revision, the election and the
// registry as given: it fails with a [lease.ConflictError] if the record changed, and with a [lease.DeposedError] if
// somebody else leads or the registry changed.
type Leadership interface {
	Name() string
	// While lets the leadership lapse unless works, asked again and again, returns nil: whoever hangs must not stay in the lead.
	While(works func() error)
	// Lost closes when the leadership may have been lost. The fence holds whether or not anybody looks.
	Lost() <-chan struct{}
	Resign(ctx context.Context) error

	Snapshot(ctx context.Context) (lease.Snapshot, error)
	Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change

	PutLease(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error)
	// Revoke is PutLease that, for an inferred cause, also requires that nothing beats for the lease.
	Revoke(ctx context.Context, reg lease.Registry, l lease.Lease, silent bool) (lease.Lease, error)
	PutLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) (lease.Launch, error)
	PutCheckpoint(ctx context.Context, reg lease.Registry, s lease.Checkpoint) (lease.Checkpoint, error)
	// PutPlan publishes a plan in place of the one before it, and DeletePlan takes it back, if there is one.
	PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) error
	DeletePlan(ctx context.Context, reg lease.Registry) error
	DeleteLease(ctx context.Context, reg lease.Registry, l lease.Lease) error
	DeleteLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) error
}
