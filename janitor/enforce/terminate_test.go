package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
)

func TestTerminatingTerminatesCondemnedInstances(t *testing.T) {
	t.Parallel()
	for _, cause := range []lease.Cause{lease.CauseExpired, lease.CauseHeartbeatLost} {
		r := newRig(t, "i-1", "i-2")
		report := r.enforce(r.verdicts(cause, "i-1"))
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) || report.Asked != 1 {
			t.Errorf("%s: terminated %v, %+v; want i-1 alone", cause, got, report)
		}
		l := r.lease("i-1")
		if l.State != lease.StateRevoked || l.Cause != cause || l.Tries != 1 || l.TriedAt.IsZero() {
			t.Errorf("%s: the lease is %s for %s after %d tries", cause, l.State, l.Cause, l.Tries)
		}
		if other := r.lease("i-2"); other.State != lease.StateActive {
			t.Errorf("%s: the other lease is %s", cause, other.State)
		}
	}
}

// TestTerminatingSpares has what may come between the decision and the call. In each case nothing is terminated.
func TestTerminatingSpares(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cause   lease.Cause
		between func(r *rig)
		stays   bool // the lease is still active afterwards
	}{
		"extended in between": {lease.CauseExpired, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) {
				return l.Extend(r.now(), lease.Extension{Until: r.now().Add(3 * time.Hour)}, r.by)
			})
		}, true},
		"unmarked in between": {lease.CauseHeartbeatLost, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmark(r.now(), r.by) })
		}, true},
		"renews again": {lease.CauseHeartbeatLost, func(r *rig) {
			if _, err := r.store.Claim(r.t.Context(), lease.Heartbeat{InstanceID: "i-1", BootID: "b", HeartbeatTimeout: lease.Duration(time.Minute)}); err != nil {
				r.t.Error(err)
			}
		}, true},
		"unmanaged in between": {lease.CauseExpired, func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(r.now(), r.by) })
		}, false},
		"exempt since the listing": {lease.CauseExpired, func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) {
				i.Tags = map[string]string{lease.TagExempt: "", lease.TagRegistry: r.reg.UUID, lease.TagLaunch: "web.1"}
			})
		}, true},
		"tag gone since the listing": {lease.CauseExpired, func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagLaunch: "web.1"} })
		}, true},
		"tag of another registry": {lease.CauseExpired, func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) {
				i.Tags = map[string]string{lease.TagRegistry: "uuid-2", lease.TagLaunch: "web.1"}
			})
		}, true},
		"another client token": {lease.CauseExpired, func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) { i.ClientToken = "console" })
		}, true},
		"stopped, if it is for a lost heartbeat": {lease.CauseHeartbeatLost, func(r *rig) { r.cloud.Turn("i-1", lease.InstanceStopped) }, true},
		"not found, if it is for a lost heartbeat": {lease.CauseHeartbeatLost, func(r *rig) {
			delete(r.cloud.Instances, "i-1")
		}, true},
		"started since it was listed, if it is for a lost heartbeat": {lease.CauseHeartbeatLost, func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) { i.LaunchTime = i.LaunchTime.Add(time.Minute) })
		}, true},
		"terminated already":    {lease.CauseExpired, func(r *rig) { r.cloud.Turn("i-1", lease.InstanceTerminated) }, true},
		"our clock is ahead":    {lease.CauseExpired, func(r *rig) { r.cloud.Skew = 11 * time.Second }, true},
		"our clock is behind":   {lease.CauseHeartbeatLost, func(r *rig) { r.cloud.Skew = -11 * time.Second }, true},
		"EC2 tells no time":     {lease.CauseExpired, func(r *rig) { r.cloud.Undated = true }, true},
		"EC2 does not describe": {lease.CauseExpired, func(r *rig) { r.cloud.Err = errors.New("unavailable") }, true},
		"another leads": {lease.CauseExpired, func(r *rig) {
			if _, err := r.store.Campaign(r.t.Context(), "two", time.Minute); err != nil {
				r.t.Error(err)
			}
		}, true},
		"paused in between": {lease.CauseExpired, func(r *rig) {
			if _, _, err := r.store.UpdateRegistry(r.t.Context(), func(g lease.Registry) (lease.Registry, error) {
				return g.To(r.now(), lease.ModePaused, lease.By{}), nil
			}); err != nil {
				r.t.Error(err)
			}
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "i-1")
			condemned := r.verdicts(test.cause, "i-1")
			test.between(r)
			report := r.enforce(condemned)
			if got := r.cloud.Ended(); len(got) > 0 || report.Asked > 0 {
				t.Fatalf("terminated %v; want it spared", got)
			}
			if report.Spared+report.Failed != 1 {
				t.Errorf("report %+v; want one spared or failed", report)
			}
			if got := r.lease("i-1").State == lease.StateActive; got != test.stays {
				t.Errorf("the lease is %s", r.lease("i-1").State)
			}
		})
	}
}

// TestTerminatingSparesIfTheWriteRevealsARollback: a restored etcd may take the write before the leader has read anything of
// it, for the lease has not changed since the backup.
func TestTerminatingSparesIfTheWriteRevealsARollback(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]int64{"older than what was observed": 1_000, "newer": 0} {
		r := newRig(t, "i-1")
		a := r.armed()
		a.Newest = r.lease("i-1").Revision + ahead
		vs := r.verdicts(lease.CauseRevoke, "i-1")
		report := a.Enforce(t.Context(), r.reg, plan.Plan{Verdicts: vs})
		if got, want := len(r.cloud.Ended()) > 0, ahead == 0; got != want || (report.Spared == 1) == want {
			t.Errorf("%s: terminated %v, %+v", name, r.cloud.Ended(), report)
		}
	}
}

func TestTerminatingRevokesNothingThatItCannotDescribe(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	condemned := r.verdicts(lease.CauseExpired, "i-1")
	delete(r.cloud.Instances, "i-1")
	r.enforce(condemned)
	if l := r.lease("i-1"); l.State != lease.StateActive || l.Tries != 0 {
		t.Errorf("the lease is %s after %d tries; want it as it was", l.State, l.Tries)
	}
	if got := r.cloud.Ended(); len(got) > 0 {
		t.Errorf("terminated %v", got)
	}
}

func TestTerminatingSparesInstancesNotDueByTheCheckedClock(t *testing.T) {
	t.Parallel()
	for _, cause := range []lease.Cause{lease.CauseExpired, lease.CauseHeartbeatLost} {
		r := newRig(t, "i-1")
		condemned := r.verdicts(cause, "i-1")
		a := r.armed()
		a.Wall = r.now // an hour before the term, a minute before the deadline of the mark
		report := a.Enforce(t.Context(), r.reg, plan.Plan{Verdicts: condemned})
		if got := r.cloud.Ended(); len(got) > 0 || report.Spared != 1 || r.lease("i-1").State != lease.StateActive {
			t.Errorf("%s: terminated %v, %+v; want it spared", cause, got, report)
		}
	}
}

func TestTerminatingDescribesAgainWhenTheRegistryWasSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.store.Fault = func(method string) error {
			if method == "Leadership.Revoke" {
				time.Sleep(11 * time.Second)
			}
			return nil
		}
		r.cloud.OnDescribe = func(n int) {
			if n == 2 {
				r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagExempt: "since"} })
			}
		}
		r.enforce(r.verdicts(lease.CauseExpired, "i-1"))
		if got := r.cloud.Ended(); len(got) > 0 || r.cloud.Descriptions != 2 {
			t.Errorf("terminated %v after %d descriptions; want it spared by the second", got, r.cloud.Descriptions)
		}
		if l := r.lease("i-1"); l.State != lease.StateRevoked {
			t.Errorf("the lease is %s; want it revoked, to be tried again or reported as stuck", l.State)
		}
	})
}

func TestTerminatingNotesRefusedInstancesAsStuck(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1", "i-2")
	r.cloud.Refuse["i-1"] = "OperationNotPermitted"
	report := r.enforce(r.verdicts(lease.CauseExpired, "i-1", "i-2"))
	if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-2"}) || report.Failed != 1 || report.Asked != 1 {
		t.Errorf("terminated %v, %+v; want i-2 alone", got, report)
	}
	if l := r.lease("i-1"); l.Stuck != "EC2 refuses: OperationNotPermitted" {
		t.Errorf("stuck because %q", l.Stuck)
	}
}

func TestTerminatingAnOrphanCreatesARevokedLease(t *testing.T) {
	t.Parallel()
	for _, boundMeanwhile := range []bool{false, true} {
		r := newRig(t, "i-1")
		launch, err := r.store.Launch(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		orphan := r.instance("i-9", "web.1")
		r.cloud.Instances["i-9"] = orphan
		if boundMeanwhile {
			if _, err := r.store.PutLease(t.Context(), launch.Bind(r.now(), orphan, launch.Attempts[0], r.by)); err != nil {
				t.Fatal(err)
			}
		}
		r.enforce([]plan.Verdict{{
			Action: plan.ActOrphan, InstanceID: "i-9", Token: "web", Location: r.cloud.Where, Cause: lease.CauseFailedCreation, Launch: &launch, Instance: &orphan,
		}})
		l, got := r.lease("i-9"), r.cloud.Ended()
		switch {
		case boundMeanwhile && (len(got) > 0 || l.State != lease.StateActive):
			t.Errorf("bound in between: terminated %v, and its lease is %s", got, l.State)
		case !boundMeanwhile && (!slices.Equal(got, []string{"i-9"}) || l.State != lease.StateRevoked || l.Cause != lease.CauseFailedCreation):
			t.Errorf("terminated %v, and its lease is %s for %q", got, l.State, l.Cause)
		}
	}
}

func TestTerminatingDoesNotStartOnceAskedToStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.armed().Enforce(ctx, r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").State != lease.StateActive {
		t.Errorf("terminated %v; want nothing begun", got)
	}
}

func TestTerminatingFinishesWhatItStarted(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	ctx, cancel := context.WithCancel(t.Context())
	r.cloud.OnDescribe = func(int) { cancel() }
	r.armed().Enforce(ctx, r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
		t.Errorf("terminated %v; want i-1, since its batch had begun", got)
	}
}

func TestObserverWritesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1")
	before := r.lease("i-1")
	Observing{Log: slog.New(slog.DiscardHandler)}.Enforce(t.Context(), r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
	if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Revision != before.Revision {
		t.Errorf("an observer terminated %v, or wrote", got)
	}
}

func TestBatchesHoldOneZoneAndFiftyAtMost(t *testing.T) {
	t.Parallel()
	var vs []plan.Verdict
	for n := range 120 {
		vs = append(vs, plan.Verdict{InstanceID: string(rune('a' + n)), Zone: []string{"a", "b"}[n%2]})
	}
	sizes := map[string][]int{}
	for _, batch := range batches(vs) {
		for _, v := range batch {
			if v.Zone != batch[0].Zone {
				t.Fatalf("a batch holds zones %s and %s", v.Zone, batch[0].Zone)
			}
		}
		sizes[batch[0].Zone] = append(sizes[batch[0].Zone], len(batch))
	}
	for zone, got := range sizes {
		if !slices.Equal(got, []int{50, 10}) {
			t.Errorf("zone %s: batches of %v", zone, got)
		}
	}
}

func TestNewTerminationsComeBeforeRetries(t *testing.T) {
	t.Parallel()
	var vs []plan.Verdict
	for n := range 40 {
		vs = append(vs, plan.Verdict{InstanceID: fmt.Sprintf("i-%02d", n), Zone: "sick", Lease: &lease.Lease{Tries: n % 8}})
	}
	all := batches(append(vs, plan.Verdict{InstanceID: "i-new", Zone: "well"}))
	for n, batch := range all {
		if batch[0].InstanceID == "i-new" && n > 1 { // the first of the sick zone are new, too
			t.Errorf("%d batches before it", n)
		}
	}
	if last := all[len(all)-1]; len(last) != 1 || last[0].Lease == nil || last[0].Lease.Tries < 6 {
		t.Errorf("the last batch is %v", last)
	}
}

func TestTerminatingWaitsForEC2sLimitsBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(r *rig){
		"exempt by then": func(r *rig) {
			r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagExempt: ""} })
		},
		"unmanaged by then": func(r *rig) {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(r.now(), r.by) })
		},
	} {
		r := newRig(t, "i-1")
		condemned := r.verdicts(lease.CauseExpired, "i-1")
		r.cloud.OnReserve = func() error { meanwhile(r); return nil }
		r.enforce(condemned)
		if got := r.cloud.Ended(); len(got) > 0 {
			t.Errorf("%s: terminated %v", name, got)
		}
	}
	r := newRig(t, "i-1")
	condemned := r.verdicts(lease.CauseExpired, "i-1")
	r.cloud.OnReserve = func() error { return errors.New("no room before the interval is over") }
	if report := r.enforce(condemned); report != (Report{Left: 1}) || r.lease("i-1").State != lease.StateActive || r.lease("i-1").Tries != 0 {
		t.Errorf("without room %+v, lease %s after %d tries; want nothing begun", report, r.lease("i-1").State, r.lease("i-1").Tries)
	}
}

// TestABrakeEngagedDuringEnforcementHoldsBackTheRest: a batch may wait for EC2 while the next sweep finds that the registry
// was set back.
func TestABrakeEngagedDuringEnforcementHoldsBackTheRest(t *testing.T) {
	t.Parallel()
	found := []lease.Brake{{Name: lease.BrakeRollback, Since: time.Now(), Reason: "set back"}}
	for name, c := range map[string]struct {
		looks int // until it is found
		state lease.State
	}{
		"before the lease is taken away": {1, lease.StateActive},
		"before EC2 is called":           {2, lease.StateRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "i-1")
			a, looked := r.armed(), 0
			a.Standing = func() []lease.Brake {
				if looked++; looked < c.looks {
					return nil
				}
				return found
			}
			report := a.Enforce(t.Context(), r.reg, plan.Plan{Verdicts: r.verdicts(lease.CauseExpired, "i-1")})
			if got := r.cloud.Ended(); len(got) > 0 || report.Spared != 1 || report.Asked != 0 {
				t.Errorf("terminated %v, %+v; want it spared", got, report)
			}
			if l := r.lease("i-1"); l.State != c.state {
				t.Errorf("the lease is %s, want %s", l.State, c.state)
			}
		})
	}
}

// TestNothingIsRevokedWithoutAnAuditEvent has an audit log that cannot be written: a lease that holds can be extended still, and
// one that was revoked is stuck for that reason, until it can.
func TestNothingIsRevokedWithoutAnAuditEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, "i-1", "i-2")
	full := true
	var mu sync.Mutex
	var told []string
	a := r.armed()
	note := func(e audit.Event) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.InstanceID+" "+string(e.Kind))
	}
	a.Emit = note
	a.Record = func(e audit.Event) error {
		if full {
			return errors.New("no space left on device")
		}
		note(e)
		return nil
	}
	r.update("i-2", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
	both := func() Report {
		return a.Enforce(t.Context(), r.reg, plan.Plan{Verdicts: append(r.verdicts(lease.CauseExpired, "i-1"), r.verdicts(lease.CauseRelease, "i-2")...)})
	}
	if report := both(); report.Asked != 0 || report.Failed != 2 {
		t.Errorf("%+v", report)
	}
	one, two := r.lease("i-1"), r.lease("i-2")
	if len(r.cloud.Ended()) > 0 || one.State != lease.StateActive || two.State != lease.StateRevoked || two.Stuck != unaudited || two.Tries != 0 {
		t.Fatalf("terminated %v; i-1 is %s, i-2 %s, stuck %q after %d tries", r.cloud.Ended(), one.State, two.State, two.Stuck, two.Tries)
	}
	full, told = false, nil
	if report := both(); report.Asked != 2 || r.lease("i-2").Stuck != "" {
		t.Errorf("%+v, i-2 stuck %q", report, r.lease("i-2").Stuck)
	}
	slices.Sort(told)
	want := []string{
		"i-1 authorise", "i-1 revoke", "i-1 terminate", "i-2 authorise", "i-2 retry", "i-2 terminate",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}
