// Package janitor terminates the instances whose leases have expired and what failed launches left behind, and never
// anything else. It observes (package observe), plans (package plan) and enforces (package enforce), in three parts that
// know nothing of each other. From the top down:
//
//   - run.go: [Janitor], which campaigns, leads, and campaigns again; follow.go: what a replica does that does not lead.
//   - lead.go: the leader's one loop, on which nothing blocks.
//   - reconcile.go: one sweep, from top to bottom; react.go: what a leader does between sweeps, in seconds.
//   - leader.go: one leader: how it decides, and has a plan carried out.
//   - What a leader is made of: records.go and clock.go, what it knows; timers.go and timetable.go, when it acts; crew.go,
//     who carries a plan out, one worker a location; tags.go and publish.go, what it writes beside; checkpoint.go, what
//     says that a sweep happened; announce.go, who hears of brakes.
//   - replica.go: what a process keeps from one leadership to the next; config.go: [Config]; loop.go: what runs beside the
//     loop; liveness.go: how the loop shows that it works; observer.go: [Observer], who is told.
//   - preview.go: [Preview], an observation and a decision that change nothing.
//
// The janitor knows neither AWS nor etcd: [Cloud] and [Leadership] are what it needs from them.
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
	// While lets the leadership expire unless works, which it calls again and again, returns nil: a janitor that hangs must
	// not stay leader.
	While(works func() error)
	// Lost closes when the leadership may have been lost. The fence protects the registry whether or not anybody checks.
	Lost() <-chan struct{}
	Resign(ctx context.Context) error

	Snapshot(ctx context.Context) (lease.Snapshot, error)
	Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change

	PutCheckpoint(ctx context.Context, reg lease.Registry, s lease.Checkpoint) (lease.Checkpoint, error)
	// PutPlan publishes a plan in place of the one before it, and DeletePlan takes it back, if there is one.
	PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) error
	DeletePlan(ctx context.Context, reg lease.Registry) error
}

// observed are the clouds as package observe needs them.
func observed(clouds []Cloud) []observe.Cloud {
	all := make([]observe.Cloud, len(clouds))
	for n, cloud := range clouds {
		all[n] = cloud
	}
	return all
}
