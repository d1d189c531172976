package metrics

import (
	"errors"
	"fmt"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// startMax is how long a janitor may take from its start to the first turn of its loop: it asks AWS whose its credentials
// are, starts an etcd inside or finds one, and lists what bears a tag.
const startMax = 2 * time.Minute

// readMax is for how long a waiting janitor may be unable to read the registry, which it tries each minute.
const readMax = 3 * time.Minute

// state is what health is judged by. Times carry monotonic readings, except those of checkpoints.
type state struct {
	turnBy     time.Time        // when the loop is to have turned again; zero: whenever somebody is elected
	started    bool             // it has turned
	leader     string           // the name under which this janitor leads; empty: it does not
	since      time.Time        // of leading, or not
	read       time.Time        // when the registry was last read, or written
	checkpoint lease.Checkpoint // the newest
	own        time.Time        // when the newest own checkpoint of this leadership was written
	fresh      time.Duration    // for how long others rely on that one
	silenced   string           // why the audit log cannot be written; empty: it can be, as far as this leadership knows
}

// Turned notes that the janitor's loop goes round.
func (e *Exporter) Turned(within time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.started = true
	e.state.turnBy = time.Time{}
	if within > 0 {
		e.state.turnBy = time.Now().Add(within)
	}
}

// Led notes whether the janitor leads. What a leader counted is forgotten with its leadership.
func (e *Exporter) Led(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.leader, e.state.since, e.state.own, e.state.silenced, e.census = name, time.Now(), time.Time{}, "", nil
}

// audited notes why the audit log cannot be written; empty if it can.
func (e *Exporter) audited(trouble string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.silenced = trouble
}

// Checkpoint notes a checkpoint that was written or read.
func (e *Exporter) Checkpoint(s lease.Checkpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.read = time.Now()
	if s.Leader == e.state.leader && e.state.leader != "" && s.Nonce != e.state.checkpoint.Nonce {
		e.state.own, e.state.fresh = time.Now(), s.FreshFor()
	}
	e.state.checkpoint = s
}

// Counted notes what a decision was about.
func (e *Exporter) Counted(c plan.Census) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.leader != "" {
		e.census = &c
	}
}

// Live says why the janitor does not work, or is nil: its loop has not turned for longer than it may take.
func (e *Exporter) Live() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	late := time.Since(e.state.turnBy)
	switch {
	case e.state.turnBy.IsZero() || late <= 0:
		return nil
	case !e.state.started:
		return fmt.Errorf("not started within %s", startMax)
	}
	return fmt.Errorf("the loop should have turned %s ago", late.Round(time.Second))
}

// Ready says why the janitor is of no use as it is, or is nil: it leads, sweeps and writes its audit log, or it waits to
// lead and sees somebody else sweep.
func (e *Exporter) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	switch {
	case !s.started:
		return errors.New("starting: the registry was not reached yet")
	case s.leader != "" && s.own.IsZero():
		return fmt.Errorf("has led for %s, and has not written a checkpoint of a sweep yet; see the log", ago(s.since))
	case s.leader != "" && time.Since(s.own) > s.fresh:
		return fmt.Errorf("leads, but its last checkpoint of a sweep is %s old; see the log", ago(s.own))
	case s.leader != "" && s.silenced != "":
		return fmt.Errorf("leads, but terminates nothing until it can write to the audit log: %s", s.silenced)
	case s.leader != "":
		return nil
	case s.read.IsZero():
		return errors.New("waits to be elected, and has not read the registry yet")
	case time.Since(s.read) > readMax:
		return fmt.Errorf("waits to be elected, and has not been able to read the registry for %s", ago(s.read))
	case s.checkpoint.Time.IsZero():
		return errors.New("waits to be elected, and no janitor has swept yet")
	case !s.checkpoint.Fresh(e.now()):
		return fmt.Errorf("waits to be elected, and the last sweep, by %s, was at %s", s.checkpoint.Leader, s.checkpoint.Time.Format(time.RFC3339))
	}
	return nil
}

func ago(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }
