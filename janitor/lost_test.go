package janitor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/audit"
	"lapse/lease"
)

// TestALeaderWhoseSweepsTakeLongerThanTheirIntervalStaysLeader has a location that answers after 90 s, each minute.
func TestALeaderWhoseSweepsTakeLongerThanTheirIntervalStaysLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		inTurn(t, r, "", func() {
			after(30 * time.Minute)
			s, err := r.store.Checkpoint(t.Context())
			if err != nil || len(s.Leaderships) != 1 || s.Sequence < 15 {
				t.Errorf("%d leaders and %d sweeps in half an hour (%v), want one leader: its sweeps end", len(s.Leaderships), s.Sequence, err)
			}
		}, func(j *Janitor) { j.Clouds = []Cloud{slow{r.cloud, 90 * time.Second}} })
	})
}

// slow is a location whose listings take long.
type slow struct {
	*recorder
	takes time.Duration
}

func (s slow) List(ctx context.Context) (lease.Listing, error) {
	if !pause(ctx, s.takes) {
		return lease.Listing{}, ctx.Err()
	}
	return s.recorder.List(ctx)
}

// every gives a janitor another schedule.
func every(t *testing.T, schedule string) func(*Janitor) {
	t.Helper()
	return func(j *Janitor) { j.schedule = parsed(t, schedule) }
}

// TestAReplacedReactionLosesNoTermination lets the worker be busy while two other leases expire, one after the other.
func TestAReplacedReactionLosesNoTermination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2", "i-3")
		first := true
		r.cloud.OnReserve = func() error {
			if first {
				first = false
				time.Sleep(30 * time.Second)
			}
			return nil
		}
		for n, id := range []string{"i-1", "i-2", "i-3"} {
			r.extend(id, time.Duration(n+1)*5*time.Second)
		}
		inTurn(t, r, "", func() {
			after(time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1", "i-2", "i-3"}) {
				t.Errorf("terminated %v within a minute of their dates, want all three", got)
			}
		}, every(t, "@every 24h"))
	})
}

// TestAFailingAuditLogCausesNoEndlessCalls: what is stuck for it is noted once.
func TestAFailingAuditLogCausesNoEndlessCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		inTurn(t, r, "", func() {
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
			after(10 * time.Minute)
			r.cloud.Mu.Lock()
			n := r.cloud.Descriptions
			r.cloud.Mu.Unlock()
			if l := r.lease("i-1"); n > 25 || l.KeptReason != lease.KeptByAudit {
				t.Errorf("%d descriptions in ten minutes, stuck because %q", n, l.Stuck)
			}
		}, func(j *Janitor) {
			j.Audit = func(e audit.Event) error {
				if e.Kind == lease.ActionAuthorise {
					return errors.New("disk full")
				}
				return nil
			}
		})
	})
}

// TestADateThatPassesBeforeTheFirstCheckpointIsWritten is met all the same, however far away the next sweep is.
func TestADateThatPassesBeforeTheFirstCheckpointIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.store.Fault = func(method string) error {
			if method == "Leadership.PutCheckpoint" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		r.extend("i-1", 5*time.Second)
		inTurn(t, r, "", func() {
			after(30 * time.Second)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v 25 s after the date of i-1", got)
			}
		}, every(t, "@every 24h"))
	})
}

// TestATerminationWhoseDescriptionFailedIsRetriedBeforeTheNextSweep: its schedule may have a gap of 60 h.
func TestATerminationWhoseDescriptionFailedIsRetriedBeforeTheNextSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2")
		r.extend("i-1", time.Minute)
		inTurn(t, r, "", func() {
			after(59 * time.Second)
			fail := func(err error) {
				r.cloud.Mu.Lock()
				defer r.cloud.Mu.Unlock()
				r.cloud.Err = err
			}
			fail(errors.New("no answer"))
			after(5 * time.Minute)
			r.cloud.Mu.Lock()
			n := r.cloud.Descriptions
			r.cloud.Mu.Unlock()
			if n > 10 {
				t.Errorf("%d descriptions in five minutes in which none was answered", n)
			}
			fail(nil)
			after(3 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v three minutes after EC2 answers again", got)
			}
		}, every(t, "@every 24h"))
	})
}

// TestASweepThatFailsIsDueAgainLongBeforeTheNext lets the first one fail: until it succeeds, nothing is ended.
func TestASweepThatFailsIsDueAgainLongBeforeTheNext(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func(r *rig) (mend func()){
		"the registry cannot be read": func(r *rig) func() {
			var mended atomic.Bool
			r.store.Fault = func(method string) error {
				if method == "Snapshot" && !mended.Load() {
					return errors.New("etcd is away")
				}
				return nil
			}
			return func() { mended.Store(true) }
		},
		"EC2 does not list": func(r *rig) func() {
			r.cloud.Err = errors.New("no answer")
			return func() {
				r.cloud.Mu.Lock()
				defer r.cloud.Mu.Unlock()
				r.cloud.Err = nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				r.extend("i-1", time.Hour)
				mend := fails(r)
				inTurn(t, r, "", func() {
					after(30 * time.Second)
					mend()
					after(10 * time.Minute)
					if s, err := r.store.Checkpoint(t.Context()); err != nil || len(s.Locations) != 1 {
						t.Errorf("ten minutes later the last sweep listed %v (%v)", s.Locations, err)
					}
					after(time.Hour)
					if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
						t.Errorf("terminated %v by its date, want i-1", got)
					}
				}, every(t, "@every 24h"))
			})
		})
	}
}

// TestAQueuedTerminationIsDroppedIfANewerDecisionHoldsItBack lets other heartbeats be lost while the termination of one
// waits.
func TestAQueuedTerminationIsDroppedIfANewerDecisionHoldsItBack(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{"nobody else": nil, "three others": {"i-2", "i-3", "i-4"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-0", "i-1", "i-2", "i-3", "i-4", "i-5")
				o := r.inLeadership()
				o.Policy.LoneGrace = o.Policy.MarkGrace
				for _, id := range []string{"i-1", "i-2", "i-3", "i-4", "i-5"} {
					if _, err := r.store.Claim(t.Context(), lease.Heartbeat{InstanceID: id, BootID: "b", HeartbeatTimeout: lease.Duration(10 * time.Minute), Since: r.now()}); err != nil {
						t.Fatal(err)
					}
				}
				decides := func() {
					snapshot, err := r.store.Snapshot(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					o.takeIn(snapshot, o.joining()(snapshot), 0)
					o.react(t.Context())
					synctest.Wait()
				}
				o.sweeps(r)
				r.store.Lapse("i-1")
				r.extend("i-0", time.Second)
				o.sweeps(r)
				gate := make(chan struct{})
				r.cloud.OnReserve = func() error { <-gate; return nil }
				after(2 * time.Second)
				decides() // i-0 is being ended, and waits for EC2's limits
				after(11 * time.Second)
				decides() // i-1 is due, and waits for its turn
				for _, id := range more {
					r.store.Lapse(id)
				}
				decides()
				close(gate)
				o.finish(passMax)
				if got := r.cloud.Ended(); slices.Contains(got, "i-1") != (more == nil) {
					t.Errorf("terminated %v; four lost of five are the registry's fault, and one is not", got)
				}
			})
		})
	}
}

// TestAPlanIsEnforcedOnlyForTheRegistryItWasMadeFor lets a person pause and resume between a sweep's checkpoint and its work.
func TestAPlanIsEnforcedOnlyForTheRegistryItWasMadeFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		o := r.inLeadership()
		r.extend("i-1", time.Second)
		after(2 * time.Second)
		before, told := r.sequence(), false
		o.begin(t.Context(), func(context.Context, error) {})
		for o.out > 0 {
			then := <-o.back
			for _, mode := range []lease.Mode{lease.ModePaused, lease.ModeArmed} {
				if told || r.sequence() == before {
					break
				}
				_, reg, err := r.store.UpdateRegistry(t.Context(), func(g lease.Registry) (lease.Registry, error) { return g.To(r.now(), mode, lease.By{}), nil })
				if err != nil {
					t.Fatal(err)
				}
				o.apply(lease.Change{Registry: &reg})
				if mode == lease.ModeArmed {
					told = true
				}
			}
			then()
		}
		o.unwatch()
		if got := r.cloud.Ended(); !told || len(got) > 0 {
			t.Errorf("terminated %v (%t), by what was decided before the registry was paused", got, told)
		}
	})
}

// TestALeaseThatExpiredWhileTheStateWasNotWritableGetsNotice: nothing is ended by a sweep that is not on disk.
func TestALeaseThatExpiredWhileTheStateWasNotWritableGetsNotice(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		inTurn(t, r, dir, func() {
			after(90 * time.Second)
			r.extend("i-1", time.Minute)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			after(20 * time.Minute)
			if got := r.cloud.Ended(); len(got) > 0 {
				t.Fatalf("terminated %v by sweeps that are not on disk", got)
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			after(65 * time.Second)
			if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 && !slices.ContainsFunc(l.History, func(h lease.Transition) bool { return h.Action == "mark" }) {
				t.Errorf("terminated %v without notice, %s after its date", r.cloud.Ended(), time.Since(l.ExpiresAt))
			}
			after(2 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v in the end", got)
			}
		})
	})
}

// TestAResumedMachineChecksEC2sClockBeforeTheNextSweep: what drifted from what EC2 said may be the monotonic clock.
func TestAResumedMachineChecksEC2sClockBeforeTheNextSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		var clock stepping
		r.extend("i-1", 6*time.Hour)
		inTurn(t, r, "", func() {
			after(time.Minute)
			clock.ahead.Add(int64(3 * time.Hour)) // and everybody else's with it
			after(4*time.Hour + 10*time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v an hour after the date of i-1", got)
			}
		}, every(t, "@every 24h"), func(j *Janitor) { j.Now = clock.now })
	})
}

// deaf is a leadership whose watch has ended.
type deaf struct{ Leadership }

func (deaf) Watch(context.Context, lease.Snapshot) <-chan lease.Change {
	ended := make(chan lease.Change)
	close(ended)
	return ended
}

// TestALeaderWhoseWatchEndedSweepsInAMinute: nothing else tells it of what changes.
func TestALeaderWhoseWatchEndedSweepsInAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		inTurn(t, r, "", func() {
			after(30 * time.Second)
			r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
			after(2 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v two minutes after i-1 was released", got)
			}
			if n := r.sequence(); n > 5 {
				t.Errorf("%d sweeps", n)
			}
		}, every(t, "@every 24h"), func(j *Janitor) {
			campaign := j.Campaign
			j.Campaign = func(ctx context.Context) (Leadership, error) {
				leadership, err := campaign(ctx)
				return deaf{leadership}, err
			}
		})
	})
}

// TestDeniedTagsCostNoMoreInABusyLocation: reactions follow each other fast, and a policy does not change with them.
func TestDeniedTagsCostNoMoreInABusyLocation(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2"}, quiet(), func(r *rig) {
		r.deny(true)
		r.extendRecord("i-1", 5*time.Hour)
		for n := range 300 { // ten minutes
			r.extend("i-2", 2*time.Hour+time.Duration(n)*time.Second)
			after(2 * time.Second)
		}
		if n := r.calls(); n > 60 {
			r.t.Errorf("%d calls in ten minutes, each of which was refused", n)
		}
	})
}

// TestATagWrittenAfterItsDateIsNoNotice: it waits for EC2's limits until the date has passed.
func TestATagWrittenAfterItsDateIsNoNotice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		late := &lateTags{recorder: r.cloud}
		inTurn(t, r, "", func() {
			r.extendRecord("i-1", 20*time.Second)
			after(2 * time.Minute)
			if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 && !slices.ContainsFunc(l.History, func(h lease.Transition) bool { return h.Action == "mark" }) {
				t.Errorf("terminated %v without notice, by a tag that was written after its date: %v", r.cloud.Ended(), l.History)
			}
		}, func(j *Janitor) { j.Clouds = []Cloud{late} })
	})
}

type lateTags struct{ *recorder }

func (l *lateTags) Tag(ctx context.Context, resources []string, tags map[string]string) []lease.Tagging {
	pause(ctx, 30*time.Second)
	return l.recorder.Tag(ctx, resources, tags)
}
