package janitor

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"
)

// overdue is what anybody is told who can read the registry and nothing else.
func (r *rig) overdue(id string) lease.Overdue {
	r.t.Helper()
	s, err := r.store.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	l := r.lease(id)
	return s.Circumstances(r.now()).Overdue(&l, nil)
}

// outlives checks that metrics and registry agree on what keeps an instance.
func (r *rig) outlives(when string, counted *counting, id string, want lease.KeptReason) {
	r.t.Helper()
	n := 0
	for _, one := range counted.last().Overdue {
		n += one
	}
	if got := r.overdue(id).Reason; got != want || want != "" && counted.last().Overdue[want] == 0 || want == "" && n > 0 {
		r.t.Errorf("%s: %s outlives its lease by %q, of %v; want %q", when, id, got, counted.last().Overdue, want)
	}
}

// TestInstancesKeptByTheAuditLogAreOverdue has a log that takes no events for a while.
func TestInstancesKeptByTheAuditLogAreOverdue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, counted := newRig(t, "i-1", "i-2"), &counting{}
		var full atomic.Bool
		full.Store(true)
		inTurn(t, r, "", func() {
			r.extend("i-1", time.Minute)
			after(10 * time.Minute)
			r.outlives("the log is full", counted, "i-1", lease.KeptByAudit)
			r.update("i-2", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
			after(time.Minute)
			r.outlives("released, too", counted, "i-2", lease.KeptByAudit)
			if len(r.cloud.Ended()) > 0 {
				t.Errorf("terminated %v without a record", r.cloud.Ended())
			}
			full.Store(false)
			after(15 * time.Minute)
			r.outlives("the log is written again, and EC2 does not confirm", counted, "i-1", lease.KeptUnconfirmed)
			if len(r.cloud.Ended()) != 2 {
				t.Errorf("terminated %v", r.cloud.Ended())
			}
		}, func(j *Janitor) {
			j.Observe = counted
			j.Audit = func(audit.Event) error {
				if full.Load() {
					return errors.New("no space left on device")
				}
				return nil
			}
		})
	})
}

// TestInstancesKeptByTheStateDirectoryAreOverdue has a state directory that cannot be written for a while.
func TestInstancesKeptByTheStateDirectoryAreOverdue(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		r, counted := newRig(t, "i-1"), &counting{}
		inTurn(t, r, dir, func() {
			after(2 * time.Minute)
			if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			r.extend("i-1", 5*time.Minute)
			after(15 * time.Minute)
			r.outlives("nothing can be remembered", counted, "i-1", lease.KeptByState)
			if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
				t.Fatal(err)
			}
			after(15 * time.Minute)
			r.outlives("it can again, and EC2 does not confirm", counted, "i-1", lease.KeptUnconfirmed)
		}, func(j *Janitor) { j.Observe = counted })
	})
}

// TestTheReasonThatKeepsAnInstanceIsNotedOnce writes nothing more once it is on record, but for the checkpoint.
func TestTheReasonThatKeepsAnInstanceIsNotedOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*lease.Instance){
		"exempt":   func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" },
		"registry": func(i *lease.Instance) { delete(i.Tags, lease.TagRegistry) },
		"launch":   func(i *lease.Instance) { i.Tags[lease.TagLaunch] = "other" },
	} {
		synctest.Test(t, func(t *testing.T) {
			r, counted := newRig(t, "i-1", "i-2"), &counting{}
			for _, id := range []string{"i-1", "i-2"} {
				i := r.cloud.Instances[id]
				change(&i)
				r.cloud.Instances[id] = i
			}
			inTurn(t, r, "", func() {
				r.extend("i-1", time.Minute)
				r.update("i-2", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
				after(3 * time.Minute)
				r.outlives("over", counted, "i-1", lease.KeptReason(name))
				r.outlives("released", counted, "i-2", lease.KeptReason(name))
				one, two := r.lease("i-1").Revision, r.lease("i-2").Revision
				after(time.Hour)
				if r.lease("i-1").Revision != one || r.lease("i-2").Revision != two {
					t.Errorf("%s: what is on record is written again", name)
				}
			}, func(j *Janitor) { j.Observe = counted })
		})
	}
}
