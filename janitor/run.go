package janitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// Janitor sweeps while it leads.
type Janitor struct{ *replica }

// New checks the configuration.
func New(c Config) (*Janitor, error) {
	r, err := newReplica(c)
	if err != nil {
		return nil, err
	}
	return &Janitor{r}, nil
}

// Run campaigns, leads, and campaigns again, until ctx ends. When it is asked to stop, it finishes the batches in flight and
// resigns. It fails if work of an earlier leadership does not finish: only a new process gets rid of such work.
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
		t := newLeader(j.replica, leadership)
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

// elected campaigns. Until it is elected, it reads the checkpoints of the present leader.
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
					j.Log.Error("the service manager is not told that this janitor works", "reason", err.Error())
					continue
				}
				j.Notify("WATCHDOG=1")
			}
		}
	}()
	return stop
}

// fatal reports whether it is useless to campaign again.
func fatal(err error) bool {
	if _, newer := errors.AsType[*lease.SchemaError](err); newer {
		return true
	}
	none, missing := errors.AsType[*lease.NotFoundError](err)
	return missing && none.Kind == "registry"
}

// Sweep is one pass under a leadership of its own. It terminates for declared causes and orphans, and judges no heartbeats.
// It finishes within 15 min.
func (j *Janitor) Sweep(ctx context.Context) (plan.Plan, enforce.Report, error) {
	defer j.open()()
	ctx, cancel := context.WithTimeoutCause(ctx, passMax, fmt.Errorf("the sweep did not finish within %s", passMax))
	defer cancel()
	leadership, err := j.Campaign(ctx)
	if err != nil {
		return plan.Plan{}, enforce.Report{}, err
	}
	j.Policy.SkipHeartbeats = true
	t := newLeader(j.replica, leadership)
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

// Pace and bound of reading the checkpoints of others. They are constants, however long the schedule pauses; with a schedule
// of seconds, each sweep's checkpoint is read.
const (
	followMax     = time.Minute
	followReadMax = 15 * time.Second
)

// follow keeps the watermark up while another replica leads.
func (r *replica) follow(ctx context.Context) {
	if r.LastCheckpoint == nil {
		r.Observe.Turned(0)
		return
	}
	table := timetable{schedule: r.schedule, now: r.Now}
	for {
		r.Observe.Turned(2*followMax + turnMax)
		reading, cancel := context.WithTimeout(ctx, followReadMax)
		reg, checkpoint, err := r.LastCheckpoint(reading)
		cancel()
		if err == nil {
			err = r.watermark.Load(reg.UUID)
		}
		if err == nil {
			r.watermark.See(r.Now(), lease.Snapshot{Registry: reg, Checkpoint: checkpoint}, false)
			r.Observe.Checkpoint(checkpoint)
		}
		if !pause(ctx, min(followMax, table.pause())) {
			return
		}
	}
}

// pause waits, and reports whether it has: it is cut short by the end of ctx.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
