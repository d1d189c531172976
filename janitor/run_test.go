package janitor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// janitorOf returns a janitor over the rig, with short graces.
func (r *rig) janitorOf(log *slog.Logger, changes ...func(*Config)) *Janitor {
	r.t.Helper()
	p := plan.DefaultPolicy()
	p.BootGrace, p.MarkGrace = 0, 10*time.Second
	c := Config{
		Campaign: func(ctx context.Context) (Leadership, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			leadership, err := r.store.Campaign(ctx, "janitor", 15*time.Second)
			if err != nil {
				return nil, err
			}
			return leadership, nil
		},
		Clouds: []Cloud{r.cloud}, Policy: p, Schedule: "@every 1m", Now: time.Now, Log: log,
	}
	for _, change := range changes {
		change(&c)
	}
	j, err := New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// running runs a janitor in a bubble of its own clock until the test's function returns.
func running(t *testing.T, ids []string, log *slog.Logger, test func(r *rig)) {
	t.Helper()
	runningWith(t, ids, log, func(*Config) {}, test)
}

// runningWith does so with a change to how it is configured.
func runningWith(t *testing.T, ids []string, log *slog.Logger, change func(*Config), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ids...)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		j := r.janitorOf(log, change)
		go func() { done <- j.Run(ctx) }()
		synctest.Wait()
		test(r)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// extend moves a date, and lets the tag say so at once.
func (r *rig) extend(id string, d time.Duration) {
	r.t.Helper()
	r.extendRecord(id, d)
	says := r.lease(id).Expiry().String()
	r.cloud.Change(id, func(i *lease.Instance) { i.Tags[lease.TagExpires] = says })
}

// extendRecord moves a date on record alone: the tag is the janitor's to write.
func (r *rig) extendRecord(id string, d time.Duration) {
	r.t.Helper()
	r.update(id, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(r.now(), lease.Extension{Until: r.now().Add(d), AllowShorten: true}, r.by)
	})
}

func (r *rig) heartbeat(id string) lease.Claim {
	r.t.Helper()
	return r.heartbeatOf(id, time.Minute)
}

func (r *rig) heartbeatOf(id string, timeout time.Duration) lease.Claim {
	r.t.Helper()
	claim, err := r.store.Claim(r.t.Context(), lease.Heartbeat{InstanceID: id, BootID: "boot", HeartbeatTimeout: lease.Duration(timeout), Since: r.now()})
	if err != nil {
		r.t.Fatal(err)
	}
	return claim
}

func TestRunSweepsAtOnceAndWritesACheckpointEveryInterval(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		for want := int64(1); want <= 3; want++ {
			checkpoint, err := r.store.Checkpoint(t.Context())
			if err != nil || checkpoint.Sequence != want || !checkpoint.Fresh(time.Now()) || !checkpoint.Names(r.cloud.Where) {
				t.Fatalf("checkpoint %+v (%v), want number %d, fresh, of %s", checkpoint, err, want, r.cloud.Where)
			}
			after(time.Minute)
		}
	})
}

func TestRunTerminatesForAnExpiryWithinTwoSecondsBetweenSweeps(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		r.extend("i-1", 20*time.Second)
		after(19 * time.Second)
		if got := r.cloud.Ended(); len(got) > 0 {
			t.Fatalf("terminated %v before the expiry", got)
		}
		after(2 * time.Second)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Fatalf("terminated %v two seconds after the expiry of i-1", got)
		}
	})
}

func TestRunObeysAPauseAtOnceAndMarksLeasesThatExpiredDuringIt(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		mode := func(mode lease.Mode) {
			if _, _, err := r.store.UpdateRegistry(t.Context(), func(g lease.Registry) (lease.Registry, error) {
				return g.To(time.Now(), mode, lease.By{}), nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		r.extend("i-1", 10*time.Second)
		mode(lease.ModePaused)
		after(2 * time.Minute)
		if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Mark != nil {
			t.Fatalf("paused: terminated %v, mark %v", got, r.lease("i-1").Mark)
		}
		mode(lease.ModeArmed)
		after(time.Second)
		if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Mark == nil {
			t.Fatalf("armed again: terminated %v, mark %v; want notice first", got, r.lease("i-1").Mark)
		}
		after(11 * time.Second)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Errorf("terminated %v after the notice; want i-1", got)
		}
	})
}

func TestRunTerminatesForALostHeartbeatOnlyAfterNoticeAndWithAWitness(t *testing.T) {
	t.Parallel()
	for _, witnessed := range []bool{true, false} {
		running(t, []string{"i-1", "i-2"}, slog.New(slog.DiscardHandler), func(r *rig) {
			t := r.t
			r.heartbeat("i-1")
			claim := r.heartbeat("i-2")
			for range 14 { // i-1 loses its heartbeat after a minute; i-2, if a witness, continues
				after(15 * time.Second)
				if !witnessed {
					continue
				}
				var err error
				if claim, _, err = r.store.Renew(t.Context(), claim, claim.Heartbeat); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{}
			if witnessed {
				want = []string{"i-1"}
			}
			if got := r.cloud.Ended(); !slices.Equal(got, want) {
				t.Errorf("witnessed %t: terminated %v, want %v", witnessed, got, want)
			}
			if m := r.lease("i-1").Mark; m == nil || m.Cause != lease.CauseHeartbeatLost {
				t.Errorf("witnessed %t: mark of i-1 is %v", witnessed, m)
			}
		})
	}
}

func TestRunCancelsAMarkWhenTheSidecarRenewsAgain(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		r.heartbeat("i-1")
		after(65 * time.Second)
		if r.lease("i-1").Mark == nil {
			t.Fatal("a lost heartbeat was not marked within seconds")
		}
		r.heartbeat("i-1")
		after(time.Second)
		if m := r.lease("i-1").Mark; m != nil {
			t.Errorf("the mark %v stayed", m)
		}
	})
}

func TestRunRestartsTheWholeTimeoutOfAnUnmarkedLease(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		r.heartbeat("i-1")
		after(65 * time.Second)
		r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Unmark(r.now(), r.by) })
		after(55 * time.Second)
		if m := r.lease("i-1").Mark; m != nil {
			r.t.Errorf("marked again %v, less than a timeout after the unmark", m)
		}
		after(10 * time.Second)
		if r.lease("i-1").Mark == nil {
			r.t.Error("not marked again a timeout after the unmark")
		}
	})
}

func TestRunEndsALeaseWhenEC2ConfirmsTheTermination(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		r.extend("i-1", time.Second)
		after(3 * time.Second)
		if l := r.lease("i-1"); l.State != lease.StateRevoked {
			t.Fatalf("asked to terminate, the lease is %s; want revoked until EC2 confirms", l.State)
		}
		r.cloud.Turn("i-1", lease.InstanceTerminated)
		after(time.Minute)
		if l := r.lease("i-1"); l.State != lease.StateEnded || l.Cause != lease.CauseExpired {
			t.Errorf("terminated according to EC2, the lease is %s for %s", l.State, l.Cause)
		}
	})
}

func TestRunLeadsAgainAfterItsLeadershipWasTaken(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, slog.New(slog.DiscardHandler), func(r *rig) {
		t := r.t
		r.store.Depose()
		after(5 * time.Second)
		checkpoint, err := r.store.Checkpoint(t.Context())
		if err != nil || checkpoint.Sequence < 2 || len(checkpoint.Leaderships) < 2 {
			t.Errorf("checkpoint %+v (%v); want a second leadership", checkpoint, err)
		}
	})
}

func TestRunKeepsSweepingWhenEtcdOrEC2IsDown(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	away := false
	set := func(a bool) { mu.Lock(); away = a; mu.Unlock() }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.store.Fault = func(method string) error {
			mu.Lock()
			defer mu.Unlock()
			if away && strings.HasSuffix(method, "Snapshot") {
				return errors.New("away")
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		j := r.janitorOf(slog.New(slog.DiscardHandler))
		go func() { done <- j.Run(ctx) }()
		after(time.Second)
		set(true)
		after(5 * time.Minute)
		set(false)
		after(2 * time.Minute)
		checkpoint, err := r.store.Checkpoint(t.Context())
		if err != nil || time.Since(checkpoint.Time) > 90*time.Second {
			t.Errorf("checkpoint %+v (%v); want sweeps to go on", checkpoint, err)
		}
		r.cloud.Mu.Lock()
		r.cloud.Err = errors.New("away")
		r.cloud.Mu.Unlock()
		r.extend("i-1", time.Second)
		after(2 * time.Minute)
		checkpoint, err = r.store.Checkpoint(t.Context())
		if err != nil || checkpoint.Names(r.cloud.Where) || len(checkpoint.Brakes) == 0 {
			t.Errorf("checkpoint %+v (%v); want the location left out, and a brake", checkpoint, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSweepOnceJudgesNoHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2")
		r.extend("i-1", time.Second)
		for range 3 {
			after(2 * time.Minute)
			if _, _, err := r.janitorOf(slog.New(slog.DiscardHandler)).Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Errorf("terminated %v; want i-1 for its expiry alone, after notice", got)
		}
		if m := r.lease("i-2").Mark; m != nil {
			t.Errorf("i-2 has the mark %v", m)
		}
	})
}

func TestNewRefusesInvalidSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no schedule":   {Schedule: "sometimes", Policy: plan.DefaultPolicy(), Clouds: []Cloud{&recorder{}}, Now: time.Now},
		"no location":   {Schedule: "@every 1m", Policy: plan.DefaultPolicy(), Now: time.Now},
		"no mark grace": {Schedule: "@every 1m", Policy: plan.Policy{}, Clouds: []Cloud{&recorder{}}, Now: time.Now},
		"share above 1": {Schedule: "@every 1m", Policy: func() plan.Policy { p := plan.DefaultPolicy(); p.LostShare = 1.5; return p }(), Clouds: []Cloud{&recorder{}}, Now: time.Now},
	} {
		_, err := New(c)
		if _, limit := errors.AsType[*lease.LimitError](err); !limit {
			t.Errorf("%s: error %v, want a LimitError", name, err)
		}
	}
}
