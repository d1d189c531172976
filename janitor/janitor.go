// Package janitor ends the instances whose leases have lapsed and what failed launches left behind, and never anything
// else. It observes (package observe), decides (package plan) and enforces (package enforce), in three parts that know
// nothing of each other.
//
//   - janitor.go: what it needs of others: [Cloud], [Leadership].
//   - run.go: [Janitor], which campaigns; leader.go: the leader's one loop, on which nothing blocks; liveness.go: how it
//     shows that it works; timetable.go: when it sweeps.
//   - reconcile.go: one sweep, observe, plan, checkpoint, enforce; checkpoint.go: what says that it happened; publish.go: the plan beside it, unless armed; react.go: between sweeps it reacts in seconds. worker.go:
//     what runs beside the loop, so that no location waits for another.
//   - preview.go: [Preview], a look and a decision that change nothing. follow.go: what a replica does that does not lead.
//   - tags.go: when the tags of instances are written.
//   - event.go: [Observer], which is told what happens; package audit: the events, what others do, and the audit log; count.go:
//     what is counted.
//
// The janitor knows neither AWS nor etcd: [Cloud] and [Leadership] are what it needs of them.
package janitor

import (
	"context"

	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/lease"
)

// Cloud is EC2 in one location: what the janitor observes it by, and what it enforces with.
type Cloud interface {
	observe.Cloud
	enforce.Cloud
}

// Leadership is an elected leader's hold on the registry. Its writes are fenced as [enforce.Registry] says.
type Leadership interface {
	enforce.Registry

	Name() string
	// While lets the leadership lapse unless works, asked again and again, returns nil: whoever hangs must not stay in the lead.
	While(works func() error)
	// Lost closes when the leadership may have been lost. The fence holds whether or not anybody looks.
	Lost() <-chan struct{}
	Resign(ctx context.Context) error

	Snapshot(ctx context.Context) (lease.Snapshot, error)
	Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change

	PutCheckpoint(ctx context.Context, reg lease.Registry, s lease.Checkpoint) (lease.Checkpoint, error)
	// PutPlan publishes a plan in place of the one before it, and DeletePlan takes it back, if there is one.
	PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) error
	DeletePlan(ctx context.Context, reg lease.Registry) error
}
