// Package janitor terminates the instances whose leases have expired and what failed launches left behind, and never
// anything else. It observes (package observe), plans (package plan) and enforces (package enforce), in three parts that
// know nothing of each other. From the top down:
//
//   - run.go: [Janitor], which campaigns, leads, and campaigns again; and what a replica does that does not lead.
//   - lead.go: the leader's one loop, on which nothing blocks, and what it does between sweeps, in seconds.
//   - reconcile.go: one sweep, from top to bottom.
//   - leader.go: one leader: how it decides, and has a plan carried out.
//   - What a leader is made of: records.go, what it knows; timers.go, when it acts; crew.go, who carries a plan out, one worker
//     a location; tags.go and publish.go, what it writes beside; checkpoint.go, what says that a sweep happened; announce.go,
//     who hears of brakes.
//   - replica.go: what a process keeps from one leadership to the next; loop.go: what runs beside the loop, and how the loop
//     shows that it works. This file: [Config] and [Observer], who is told.
//   - preview.go: [Preview], an observation and a decision that change nothing.
//
// The janitor knows neither AWS nor etcd: [Cloud] and [Leadership] are what it needs from them.
package janitor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
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
	Elected() int64 // the revision of etcd at which it was won
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

// Config is what a janitor needs to run.
type Config struct {
	Campaign func(ctx context.Context) (Leadership, error) // blocks until elected
	Healthy  func(ctx context.Context) error               // whether etcd raises an alarm; may be nil
	// LastCheckpoint reads the registry and its checkpoint, zero if there is none, while another replica leads. Optional.
	LastCheckpoint func(ctx context.Context) (lease.Registry, lease.Checkpoint, error)
	// StateDir keeps what this replica remembers of the registry beyond its process. Empty: nothing.
	StateDir string
	Clouds   []Cloud
	Policy   plan.Policy
	Schedule string             // robfig/cron, five fields or "@every 1m"
	Now      func() time.Time   // the wall clock
	Notify   func(state string) // may be nil
	Log      *slog.Logger
	Observe  Observer                // may be nil
	Audit    func(audit.Event) error // may be nil; otherwise nothing is terminated that it cannot record
}

// complete checks the configuration, and fills in what may be left out.
func (c Config) complete() (Config, cron.Schedule, error) {
	schedule, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		return c, nil, &lease.LimitError{
			What: fmt.Sprintf("schedule %q", c.Schedule), Why: "must be five cron fields or, for example, \"@every 1m\"",
		}
	}
	if schedule.Next(c.Now()).IsZero() {
		return c, nil, &lease.LimitError{What: fmt.Sprintf("schedule %q", c.Schedule), Why: "is never due; name a date that exists"}
	}
	if err := c.Policy.Check(); err != nil {
		return c, nil, err
	}
	if len(c.Clouds) == 0 {
		return c, nil, &lease.LimitError{What: "regions", Why: "must name at least one"}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Healthy == nil {
		c.Healthy = func(context.Context) error { return nil }
	}
	if c.Observe == nil {
		c.Observe = blind{}
	}
	return c, schedule, nil
}

// Observer is told what a janitor does and sees, for metrics and health. Its methods are called by many goroutines, and
// must not wait for anything.
type Observer interface {
	// Turned says that the janitor's loop goes round, and that it will again within so long; 0: it waits to be elected.
	Turned(within time.Duration)
	// Led says under which name the janitor leads from now on; empty: it does not.
	Led(name string)
	// Checkpoint is told each checkpoint of a sweep that the janitor writes or reads.
	Checkpoint(s lease.Checkpoint)
	// Swept is told how long a sweep took, and why it failed if it did.
	Swept(took time.Duration, err error)
	// Counted is told what each decision was about.
	Counted(c plan.Census)
	// Happened is told each event.
	Happened(e audit.Event)
}

// blind is the observer of a janitor that nobody observes.
type blind struct{}

func (blind) Turned(time.Duration)        {}
func (blind) Led(string)                  {}
func (blind) Checkpoint(lease.Checkpoint) {}
func (blind) Swept(time.Duration, error)  {}
func (blind) Counted(plan.Census)         {}
func (blind) Happened(audit.Event)        {}
