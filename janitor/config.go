package janitor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
)

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
