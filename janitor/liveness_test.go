package janitor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// stepping is a wall clock that is set.
type stepping struct{ ahead atomic.Int64 }

func (c *stepping) now() time.Time { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }

// sequence is the number of the last sweep.
func (r *rig) sequence() int64 {
	r.t.Helper()
	s, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Sequence
}

// hung is something that waits until it is let go, whoever asked for it to end.
type hung struct{ gate chan struct{} }

func (h *hung) init()        { h.gate = make(chan struct{}) } // in the bubble that waits for it
func (h *hung) wait()        { <-h.gate }
func (h *hung) release()     { close(h.gate) }
func (h *hung) error() error { h.wait(); return nil }

// runs runs a janitor that the test has changed, and returns how it ended.
func runs(t *testing.T, change func(r *rig, j *Janitor), test func(r *rig, stop context.CancelFunc, done <-chan error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		j := r.janitorOf(quiet())
		change(r, j)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(time.Second)
		test(r, stop, done)
	})
}

func TestABlockedAuditLogHoldsBackTerminationsAndNothingElse(t *testing.T) {
	t.Parallel()
	var log hung
	runs(t, func(_ *rig, j *Janitor) {
		log.init()
		j.Audit = func(audit.Event) error { return log.error() }
	}, func(r *rig, stop context.CancelFunc, done <-chan error) {
		r.extend("i-1", time.Second)
		after(10 * time.Minute)
		if n := r.sequence(); n < 10 {
			r.t.Errorf("%d sweeps in ten minutes", n)
		}
		if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 || l.State != lease.StateActive {
			r.t.Errorf("terminated %v, lease %s; want nothing terminated that cannot be recorded", r.cloud.Ended(), l.State)
		}
		r.extend("i-1", time.Hour) // it can be, to the end
		asked := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(asked) > 15*time.Second {
			r.t.Errorf("%v after %s, want an orderly stop", err, time.Since(asked))
		}
		log.release()
	})
}

// TestALeaseThatExpiredWhileTheAuditLogWasDownIsMarkedFirst: nobody was to know that it would end at once.
func TestALeaseThatExpiredWhileTheAuditLogWasDownIsMarkedFirst(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	runs(t, func(_ *rig, j *Janitor) {
		j.Policy.MarkGrace, j.Policy.LoneGrace = 5*time.Minute, time.Hour // longer than the pause between sweeps
		j.Audit = func(audit.Event) error {
			if full.Load() {
				return errors.New("disk full")
			}
			return nil
		}
	}, func(r *rig, stop context.CancelFunc, done <-chan error) {
		full.Store(true)
		r.extend("i-1", time.Minute)
		after(20 * time.Minute)
		if got := r.cloud.Ended(); len(got) > 0 {
			r.t.Fatalf("terminated %v without a record", got)
		}
		full.Store(false) // there is nothing else to write than that something is missing
		after(10 * time.Minute)
		marked := slices.ContainsFunc(r.lease("i-1").History, func(h lease.Transition) bool { return h.Action == "mark" })
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) || !marked {
			r.t.Errorf("terminated %v, marked first: %t", got, marked)
		}
		stop()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

func TestABlockedLoopLosesLeadership(t *testing.T) {
	t.Parallel()
	var loop hung
	var block atomic.Bool
	var pets atomic.Int64
	runs(t, func(_ *rig, j *Janitor) {
		loop.init()
		j.Observe = turning{func() {
			if block.Load() {
				loop.wait()
			}
		}}
		j.Notify = func(state string) {
			if state == "WATCHDOG=1" {
				pets.Add(1)
			}
		}
	}, func(r *rig, stop context.CancelFunc, done <-chan error) {
		after(time.Minute)
		if pets.Load() < 5 {
			r.t.Fatalf("the watchdog was fed %d times in a minute", pets.Load())
		}
		block.Store(true)
		after(turnMax + 40*time.Second)
		fed := pets.Load()
		if _, led := r.store.Leader(); led {
			r.t.Error("the loop hangs, and the leadership is held")
		}
		after(time.Minute)
		if pets.Load() > fed {
			r.t.Error("the loop hangs, and the watchdog is fed")
		}
		block.Store(false)
		loop.release()
		after(2 * time.Minute)
		if _, led := r.store.Leader(); !led {
			r.t.Error("the loop turns again, and nobody leads")
		}
		stop()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

// turning is an observer that is called at each turn.
type turning struct{ turn func() }

func (o turning) Turned(time.Duration)      { o.turn() }
func (turning) Led(string)                  {}
func (turning) Checkpoint(lease.Checkpoint) {}
func (turning) Swept(time.Duration, error)  {}
func (turning) Counted(plan.Census)         {}
func (turning) Happened(audit.Event)        {}

func TestABlockedWorkerEndsTheProcess(t *testing.T) {
	t.Parallel()
	var ec2 hung
	var fed atomic.Int64 // when the watchdog was fed last
	runs(t, func(r *rig, j *Janitor) {
		ec2.init()
		r.cloud.OnReserve = ec2.error
		j.Notify = func(state string) {
			if state == "WATCHDOG=1" {
				fed.Store(time.Now().UnixNano())
			}
		}
	}, func(r *rig, _ context.CancelFunc, done <-chan error) {
		r.extend("i-1", time.Second)
		begun := time.Now()
		err := <-done
		if unfed := time.Since(time.Unix(0, fed.Load())); unfed > 15*time.Second {
			r.t.Errorf("while the leadership was left for %s, the watchdog was not fed in the last %s", leaveMax, unfed)
		}
		longest := workMax + enforce.Deadline + workLate + leaveMax + time.Minute
		if took := time.Since(begun); err == nil || took > longest {
			r.t.Errorf("%v after %s, want an error within %s", err, took, longest)
		}
		if _, led := r.store.Leader(); led {
			r.t.Error("the leadership is held by a process that ended")
		}
		ec2.release()
	})
}

func TestAnEndlessSweepLosesLeadership(t *testing.T) {
	t.Parallel()
	var registry hung
	var block atomic.Bool
	runs(t, func(_ *rig, j *Janitor) {
		registry.init()
		j.Healthy = func(context.Context) error {
			if block.Load() {
				registry.wait()
			}
			return nil
		}
	}, func(r *rig, _ context.CancelFunc, done <-chan error) {
		block.Store(true)
		after(sweepMax + 2*time.Minute)
		if _, led := r.store.Leader(); led {
			r.t.Error("a sweep has not ended for nine minutes, and the leadership is held")
		}
		if err := <-done; err == nil {
			r.t.Error("no error, although work has not come back")
		}
		registry.release()
	})
}

func TestAWorkerThatIsLateIsFound(t *testing.T) {
	t.Parallel()
	var l liveness
	if err := l.alive(); err != nil {
		t.Errorf("who does not lead has nothing to show: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		var l liveness
		l.lead()
		done := l.works("a worker", time.Minute)
		time.Sleep(50 * time.Second)
		l.turned()
		if err := l.alive(); err != nil {
			t.Error(err)
		}
		for range 3 {
			time.Sleep(30 * time.Second)
			l.turned()
		}
		if err := l.alive(); err == nil {
			t.Error("a worker is 80 s late, and all is well")
		}
		done()
		if err := l.alive(); err != nil {
			t.Error(err)
		}
	})
}
