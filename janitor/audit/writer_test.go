package audit_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"
)

const (
	patience = 5 * time.Second
	slow     = "the audit log does not answer within 5s"
)

func TestWithoutAnAuditLogNothingIsWritten(t *testing.T) {
	t.Parallel()
	var none *audit.Writer
	none.Post(audit.Event{Kind: lease.ActionMark})
	if err := none.Record(audit.Event{Kind: lease.ActionAuthorise}); err != nil || none.Down() {
		t.Errorf("%v, down %t", err, none.Down())
	}
}

func TestAnEventNotWrittenInTimeIsNotRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wrote []lease.Action
		var lost, found atomic.Int64
		gate := make(chan struct{})
		w := audit.NewWriter(func(e audit.Event) error {
			<-gate
			if e.Kind == lease.ActionStuck {
				return errors.New("disk full")
			}
			wrote = append(wrote, e.Kind)
			return nil
		}, func(audit.Event, error) { lost.Add(1) }, func() { found.Add(1) })
		w.Post(audit.Event{Kind: lease.ActionLead})
		synctest.Wait()
		begun := time.Now()
		if err := w.Record(audit.Event{Kind: lease.ActionRevoke}); err == nil || time.Since(begun) != patience {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		time.Sleep(time.Second) // by now the first one is late, too
		close(gate)
		if err := w.Record(audit.Event{Kind: lease.ActionMark}); err != nil {
			t.Error(err)
		}
		if err := w.Record(audit.Event{Kind: lease.ActionStuck}); err == nil {
			t.Error("no error from a full disk")
		}
		w.Close()
		if len(wrote) != 2 || wrote[1] != lease.ActionMark || lost.Load() != 3 || found.Load() != 1 {
			t.Errorf("wrote %v, lost %d, found %d; want no trace of what was given up", wrote, lost.Load(), found.Load())
		}
	})
}

// TestAnAuditLogIsDownUntilAnEventIsWritten lets a write hang for which nobody waits, and another fail.
func TestAnAuditLogIsDownUntilAnEventIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said []string
		gate := make(chan struct{})
		full := errors.New("disk full")
		w := audit.NewWriter(func(e audit.Event) error {
			switch e.Kind {
			case lease.ActionLead:
				<-gate
			case lease.ActionStuck:
				return full
			default:
			}
			return nil
		}, func(_ audit.Event, err error) { said = append(said, err.Error()) }, func() { said = append(said, "written") })
		tell := func(kind lease.Action, want ...string) {
			t.Helper()
			w.Post(audit.Event{Kind: kind})
			time.Sleep(patience + time.Second)
			synctest.Wait()
			if !slices.Equal(said, want) {
				t.Errorf("after %s: %q, want %q", kind, said, want)
			}
			said = nil
		}
		tell(lease.ActionMark)
		tell(lease.ActionLead, slow)
		close(gate)
		synctest.Wait()
		if !slices.Equal(said, []string{"written"}) { // late, and written all the same
			t.Errorf("once it takes lines again: %q", said)
		}
		said = nil
		tell(lease.ActionStuck, full.Error())
		tell(lease.ActionStuck, full.Error())
		tell(lease.ActionMark, "written")
		tell(lease.ActionMark)
		w.Close()
	})
}
