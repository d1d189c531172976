package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// Config is what a janitor needs to run.
type Config struct {
	Campaign func(ctx context.Context) (Leadership, error) // blocks until elected
	Healthy  func(ctx context.Context) error               // whether etcd raises an alarm
	// LastCheckpoint reads the registry and its checkpoint, zero if there is none, while another replica leads. Optional.
	LastCheckpoint func(ctx context.Context) (lease.Registry, lease.Checkpoint, error)
	// StateDir keeps what this replica remembers of the registry beyond its process. Empty: nothing.
	StateDir string
	Clouds   []Cloud
	Policy   plan.Policy
	Schedule string           // robfig/cron, five fields or "@every 1m"
	Now      func() time.Time // the wall clock
	Notify   func(state string)
	Log      *slog.Logger
	Observe  Observer                // may be nil
	Audit    func(audit.Event) error // may be nil; if not, what it cannot write ends nothing
}

// Janitor sweeps while it holds office.
type Janitor struct {
	Config
	schedule  cron.Schedule
	watermark *observe.Watermark
	live      liveness
	statuses  chan string   // for the service manager, not told yet
	audit     *audit.Writer // nil without an audit log
	left      struct {      // what was observed when office was left last
		joined *plan.Joined // nil: nothing yet
		newest int64
	}
}

// observeMax bounds all looks of a sweep at EC2 and the registry.
const observeMax = 5 * time.Minute

// offices is how many of the last leaders the checkpoint remembers.
const leaderships = 8

// New checks the configuration.
func New(c Config) (*Janitor, error) {
	schedule, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		return nil, &lease.LimitError{
			What: fmt.Sprintf("schedule %q", c.Schedule), Why: "must be five cron fields or, for example, \"@every 1m\"",
		}
	}
	if schedule.Next(c.Now()).IsZero() {
		return nil, &lease.LimitError{What: fmt.Sprintf("schedule %q", c.Schedule), Why: "is never due; name a date that exists"}
	}
	if err := c.Policy.Check(); err != nil {
		return nil, err
	}
	if len(c.Clouds) == 0 {
		return nil, &lease.LimitError{What: "regions", Why: "must name at least one"}
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
	watermark, err := observe.OpenWatermark(c.StateDir, c.Log)
	if err != nil {
		return nil, err
	}
	return &Janitor{Config: c, schedule: schedule, watermark: watermark, statuses: make(chan string, 1)}, nil
}

// Run campaigns, leads, and campaigns again, until ctx ends. Asked to stop, it finishes the batches in flight and
// resigns. It fails if work of a leadership that it has left does not come back: only a new process is rid of that.
func (j *Janitor) Run(ctx context.Context) error {
	defer j.open()()
	defer j.pulse(ctx)()
	defer func() { _ = j.watermark.Flush(context.WithoutCancel(ctx)) }() // said in the log by the sweep that waited for it
	for {
		j.Log.Info("campaigning")
		j.status("campaigning")
		leadership, err := j.elected(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fatal(err):
			return err
		case err != nil:
			j.Log.Error("not elected", "error", err)
			if !pause(ctx, time.Second) {
				return nil
			}
			continue
		}
		j.Log.Info("elected", "leader", leadership.Name())
		t := j.newLeader(leadership)
		why, err := t.lead(ctx)
		t.leave(ctx, why)
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// open begins to write the audit log, if there is one, until the returned function is called.
func (j *Janitor) open() (stop func()) {
	if j.Audit == nil {
		return func() {}
	}
	j.audit = audit.NewWriter(j.Audit, j.unaudited, j.auditedAgain)
	return j.audit.Close
}

// elected campaigns, and follows meanwhile what the leader of the day checkpoints.
func (j *Janitor) elected(ctx context.Context) (Leadership, error) {
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer stop()
	follower.Go(func() { j.follow(following) })
	return j.Campaign(ctx)
}

// pulse tells the service manager that the janitor works, for as long as it does, and how it is. It is a goroutine of its
// own, since the manager's socket may be full, and says nothing by itself: it asks the leader's loop.
func (j *Janitor) pulse(ctx context.Context) (stop context.CancelFunc) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		j.Notify("READY=1")
		for {
			select {
			case <-ctx.Done():
				return
			case status := <-j.statuses:
				j.Notify("STATUS=" + status)
			case <-time.After(10 * time.Second):
				if err := j.live.alive(); err != nil {
					j.Log.Error("the service manager is not told that this works", "reason", err.Error())
					continue
				}
				j.Notify("WATCHDOG=1")
			}
		}
	}()
	return stop
}

// status is what the service manager shows. Of several that it has not been told yet, the last counts.
func (j *Janitor) status(s string) {
	select {
	case <-j.statuses:
	default:
	}
	select {
	case j.statuses <- s:
	default:
	}
}

// fatal reports whether campaigning again is of no use.
func fatal(err error) bool {
	if _, newer := errors.AsType[*lease.SchemaError](err); newer {
		return true
	}
	none, missing := errors.AsType[*lease.NotFoundError](err)
	return missing && none.Kind == "registry"
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (j *Janitor) resign(ctx context.Context, leadership Leadership) {
	j.Observe.Led("")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := leadership.Resign(ctx); err != nil {
		j.Log.Warn("not resigned; the election waits for the session to lapse", "error", err)
	}
}

// passMax bounds one pass of [Janitor.Sweep], which has no loop that could show that it works.
const passMax = 15 * time.Minute

// Sweep is one pass under a leadership held for it alone: declared causes and orphans end, silence is not judged. It ends
// within 15 min.
func (j *Janitor) Sweep(ctx context.Context) (plan.Plan, enforce.Report, error) {
	defer j.open()()
	ctx, cancel := context.WithTimeoutCause(ctx, passMax, fmt.Errorf("the pass has not ended within %s", passMax))
	defer cancel()
	leadership, err := j.Campaign(ctx)
	if err != nil {
		return plan.Plan{}, enforce.Report{}, err
	}
	j.Policy.SkipHeartbeats = true
	t := j.newLeader(leadership)
	begun := time.Now()
	leadership.While(func() error {
		if took := time.Since(begun); took > passMax {
			return context.Cause(ctx)
		}
		return nil
	})
	defer t.leave(ctx, "one pass")
	return t.pass(ctx)
}
