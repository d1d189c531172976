package janitor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
)

// mute is a location that can stop answering: until it is given up after half a minute, it gives no answer.
type mute struct {
	*recorder
	lost atomic.Bool
}

func (m *mute) wait(ctx context.Context) error {
	if !m.lost.Load() {
		return nil
	}
	if !pause(ctx, 30*time.Second) {
		return ctx.Err()
	}
	return errors.New("no answer")
}

func (m *mute) List(ctx context.Context) (lease.Listing, error) {
	if err := m.wait(ctx); err != nil {
		return lease.Listing{}, err
	}
	return m.recorder.List(ctx)
}

func (m *mute) Describe(ctx context.Context, ids []string) (lease.Listing, error) {
	if err := m.wait(ctx); err != nil {
		return lease.Listing{}, err
	}
	return m.recorder.Describe(ctx, ids)
}

// besideMute runs a janitor over the rig's location, which has i-1 and i-2, and over one that can stop answering, which
// has i-8 and i-9.
func besideMute(t *testing.T, test func(r *rig, far *mute)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2")
		far := &mute{recorder: &recorder{
			Where: lease.Location{Account: r.cloud.Where.Account, Region: "ap-east-1"}, Instances: map[string]lease.Instance{},
		}}
		for zone, id := range map[string]string{"ap-east-1a": "i-8", "ap-east-1b": "i-9"} {
			i := r.instance(id, "")
			i.Location, i.Zone, i.Tags = far.Where, zone, map[string]string{lease.TagRegistry: r.reg.UUID}
			far.Instances[id] = i
			l, err := r.store.PutLease(t.Context(), lease.Adopt(r.now(), i, r.now().Add(time.Hour), time.Time{}, "", nil, r.by))
			if err != nil || l.Location() != far.Where {
				t.Fatalf("lease in %s: %v", l.Location(), err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		j := r.janitorOf(quiet())
		j.Clouds = append(j.Clouds, far)
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(time.Second)
		test(r, far)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestAnUnresponsiveLocationDelaysNoTerminationElsewhere(t *testing.T) {
	t.Parallel()
	for name, term := range map[string]time.Duration{
		"between two sweeps": 40 * time.Second, "while a sweep lists": 75 * time.Second, "while it looks up by id": 105 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			besideMute(t, func(r *rig, far *mute) {
				far.lost.Store(true)
				r.extend("i-8", 30*time.Second) // asks the unresponsive location for what is due there
				r.extend("i-1", term)
				after(term - time.Second)
				if got := r.cloud.Ended(); len(got) > 0 {
					r.t.Fatalf("terminated %v before the expiry", got)
				}
				after(3 * time.Second)
				if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
					r.t.Errorf("terminated %v two seconds after the expiry of i-1", got)
				}
			})
		})
	}
}

func TestAnUnresponsiveLocationIsHeldBackAndTheOthersAreRecorded(t *testing.T) {
	t.Parallel()
	besideMute(t, func(r *rig, far *mute) {
		far.lost.Store(true)
		r.extend("i-8", 30*time.Second)
		r.extend("i-9", 30*time.Second) // of another zone
		after(2*time.Minute + 10*time.Second)
		for range 30 {
			after(17 * time.Second)
			checkpoint, err := r.store.Checkpoint(r.t.Context())
			held := slices.ContainsFunc(checkpoint.Brakes, func(b lease.Brake) bool { return b.Name == plan.BrakeHealth && b.Scope == far.Where.String() })
			if err != nil || r.now().Sub(checkpoint.Time) > 61*time.Second || !checkpoint.Names(r.cloud.Where) || checkpoint.Names(far.Where) || !held {
				r.t.Fatalf("checkpoint %+v (%v); want it of the last minute, of %s alone, and a brake on %s", checkpoint, err, r.cloud.Where, far.Where)
			}
		}
		if got := far.Ended(); len(got) > 0 {
			r.t.Errorf("terminated %v in a location that tells nothing", got)
		}
		far.lost.Store(false)
		after(3 * time.Minute)
		if got := far.Ended(); !slices.Equal(got, []string{"i-8", "i-9"}) {
			r.t.Errorf("terminated %v once the location answers again; want both", got)
		}
	})
}

func TestWorkThatFallsDueInABusyLocationIsDoneNext(t *testing.T) {
	t.Parallel()
	besideMute(t, func(r *rig, _ *mute) {
		r.cloud.OnDescribe = func(n int) {
			if n == 1 {
				time.Sleep(8 * time.Second)
			}
		}
		r.extend("i-1", 5*time.Second)
		r.extend("i-2", 7*time.Second)
		after(12 * time.Second)
		if got := r.cloud.Ended(); len(got) > 0 {
			r.t.Fatalf("terminated %v before EC2 described it", got)
		}
		after(3 * time.Second) // long before the next sweep
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1", "i-2"}) {
			r.t.Errorf("terminated %v, want both", got)
		}
	})
}

func TestWorkThatFallsDueInABusyLocationIsDoneNextEvenIfNothingIsWrittenThere(t *testing.T) {
	t.Parallel()
	besideMute(t, func(r *rig, _ *mute) {
		r.cloud.OnDescribe = func(n int) {
			if n == 1 {
				time.Sleep(8 * time.Second)
				r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" }) // and so it is spared
			}
		}
		r.extend("i-1", 5*time.Second)
		r.extend("i-2", 7*time.Second)
		after(15 * time.Second) // long before the next sweep
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-2"}) {
			r.t.Errorf("terminated %v, want i-2", got)
		}
	})
}

func TestALeaseExtendedDuringASweepIsKept(t *testing.T) {
	t.Parallel()
	besideMute(t, func(r *rig, far *mute) {
		far.lost.Store(true)
		r.extend("i-1", 85*time.Second)
		after(80 * time.Second) // the sweep has listed this location, and waits for the other
		r.extend("i-1", time.Hour)
		after(2 * time.Minute)
		if m := r.lease("i-1").Mark; len(r.cloud.Ended()) > 0 || m != nil && m.Cause == lease.CauseExpired {
			r.t.Errorf("terminated %v, mark %v; want neither", r.cloud.Ended(), m)
		}
	})
}

func TestABatchInFlightIsFinishedBeforeLeadershipIsGivenUp(t *testing.T) {
	t.Parallel()
	var ended, resigned atomic.Int64
	besideMute(t, func(r *rig, _ *mute) {
		r.store.Fault = func(method string) error {
			if method == "Resign" {
				resigned.Store(time.Now().UnixNano())
			}
			return nil
		}
		r.cloud.OnDescribe = func(int) {
			time.Sleep(8 * time.Second)
			ended.Store(time.Now().UnixNano())
		}
		r.extend("i-1", 5*time.Second)
		after(8 * time.Second) // and then the janitor is stopped
		r.t.Cleanup(func() {
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) || resigned.Load() < ended.Load() {
				r.t.Errorf("terminated %v; EC2 answered at %d, and the leadership was given back at %d", got, ended.Load(), resigned.Load())
			}
		})
	})
}

func TestAListingOlderThanTheCheckpointIsRepeated(t *testing.T) {
	t.Parallel()
	for name, setBack := range map[string]bool{"it came late": false, "the registry was set back": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				o := r.inLeadership()
				listed, checkpoint := r.snapshot(), r.store.Get("checkpoint", "")
				if _, _, err := o.pass(t.Context()); err != nil {
					t.Fatal(err)
				}
				if setBack {
					r.store.Put("checkpoint", "", checkpoint)
				}
				o.follow(t.Context(), lease.Change{Snapshot: &listed}, true)
				o.finish(passMax)
				defer o.unwatch()
				if stands := o.watermark.Standing(); len(stands) > 0 != setBack {
					t.Errorf("held back by %v", stands)
				}
				if newest := o.joined.Checkpoint.Sequence; !setBack && newest != 2 {
					t.Errorf("the last checkpoint is number %d, want 2", newest)
				}
			})
		})
	}
}

// slowReader is a leadership that answers what it has read only after a while, once it was asked for the first time.
type slowReader struct {
	Leadership
	takes time.Duration
	asked atomic.Bool
}

func (o *slowReader) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	s, err := o.Leadership.Snapshot(ctx)
	if o.asked.Swap(true) {
		pause(ctx, o.takes)
	}
	return s, err
}

func TestALongReadOfTheRegistryDelaysNoReaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2")
		j := r.janitorOf(quiet())
		campaign := j.Campaign
		j.Campaign = func(ctx context.Context) (Leadership, error) {
			leadership, err := campaign(ctx)
			return &slowReader{Leadership: leadership, takes: 8 * time.Second}, err
		}
		moved := 0
		j.Audit = func(e audit.Event) error {
			if e.Kind == lease.ActionExtend || e.Kind == lease.ActionShorten {
				moved++
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(time.Second)
		r.extend("i-1", 62*time.Second)
		r.extend("i-2", 64*time.Second)
		after(59 * time.Second) // the second sweep reads now, and has an answer in eight seconds
		after(time.Second)
		r.extend("i-2", time.Hour)
		after(3 * time.Second)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Errorf("terminated %v a second after the expiry of i-1, while the registry is being read", got)
		}
		after(time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) || r.lease("i-2").State != lease.StateActive {
			t.Errorf("terminated %v; i-2 was extended while the registry was being read", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if moved != 3 {
			t.Errorf("%d moves of expiries in the audit log, want each of three once", moved)
		}
	})
}

// slowCheckpoint is a leadership whose checkpoints take a while to be written.
type slowCheckpoint struct {
	Leadership
	takes time.Duration
}

func (o slowCheckpoint) PutCheckpoint(ctx context.Context, reg lease.Registry, s lease.Checkpoint) (lease.Checkpoint, error) {
	pause(ctx, o.takes)
	return o.Leadership.PutCheckpoint(ctx, reg, s)
}

func TestAChangeSeenWhileACheckpointIsWrittenIsNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		j := r.janitorOf(quiet())
		campaign := j.Campaign
		j.Campaign = func(ctx context.Context) (Leadership, error) {
			leadership, err := campaign(ctx)
			return slowCheckpoint{Leadership: leadership, takes: 4 * time.Second}, err
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(4*time.Second - settleMin/2)
		r.heartbeat("i-1") // which expires just before the second checkpoint is written
		after(70 * time.Second)
		if r.lease("i-1").Mark == nil {
			t.Error("a heartbeat that lapsed while the checkpoint was written is not marked")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
