package janitor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// remote is a location that counts how often it is listed, and can fail to be.
type remote struct {
	*recorder
	lists atomic.Int64
	fails atomic.Bool
}

func (c *remote) List(ctx context.Context) (lease.Listing, error) {
	c.lists.Add(1)
	if c.fails.Load() {
		return lease.Listing{}, errors.New("no answer")
	}
	return c.recorder.List(ctx)
}

// besideEmpty runs a janitor over the rig's location, which has i-1, and over an empty one.
func besideEmpty(t *testing.T, test func(r *rig, far *remote)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 10*time.Hour)
		far := &remote{recorder: &recorder{
			Where: lease.Location{Account: r.cloud.Where.Account, Region: "ap-east-1"}, Instances: map[string]lease.Instance{},
		}}
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

func TestAnEmptyLocationIsListedEveryQuarterOfAnHourAndRecordedEveryMinute(t *testing.T) {
	t.Parallel()
	besideEmpty(t, func(r *rig, far *remote) {
		for minute := range 40 {
			if want := int64(minute/15 + 1); far.lists.Load() != want {
				r.t.Fatalf("listed %d times by minute %d, want %d", far.lists.Load(), minute, want)
			}
			checkpoint, err := r.store.Checkpoint(r.t.Context())
			if err != nil || !checkpoint.Fresh(r.now()) || !checkpoint.Names(far.Where) {
				r.t.Fatalf("minute %d: checkpoint %+v (%v), want a fresh one that names %s", minute, checkpoint, err, far.Where)
			}
			after(time.Minute)
		}
	})
}

func TestAnEmptyLocationIsListedInTheSweepAfterItGetsARecord(t *testing.T) {
	t.Parallel()
	put := func(r *rig, l lease.Launch) {
		if _, err := r.store.PutLaunch(r.t.Context(), l); err != nil {
			r.t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		record func(r *rig, far *remote, launch lease.Launch)
		every  bool
	}{
		"nothing": {func(*rig, *remote, lease.Launch) {}, false},
		"an open launch": {func(r *rig, _ *remote, launch lease.Launch) {
			put(r, launch)
		}, true},
		"a closed launch": {func(r *rig, _ *remote, launch lease.Launch) {
			launch.State = lease.LaunchClosed
			put(r, launch)
		}, true},
		"a launch that is done": {func(r *rig, _ *remote, launch lease.Launch) {
			launch.State = lease.LaunchDone
			put(r, launch)
		}, false},
		"a lease": {func(r *rig, far *remote, _ lease.Launch) {
			i := r.instance("i-9", "")
			i.Location = far.Where
			if _, err := r.store.PutLease(r.t.Context(), lease.Adopt(r.now(), i, r.now().Add(time.Hour), time.Time{}, "", nil, r.by)); err != nil {
				r.t.Fatal(err)
			}
		}, true},
		"a record that cannot be read": {func(r *rig, _ *remote, _ lease.Launch) {
			r.store.Put("lease", "i-9", []byte("{"))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			besideEmpty(t, func(r *rig, far *remote) {
				after(2 * time.Minute)
				test.record(r, far, lease.Launch{
					Schema: lease.Schema, Token: "far", State: lease.LaunchOpen, Account: far.Where.Account, Region: far.Where.Region, Count: 1,
					Window: lease.Duration(15 * time.Minute), Request: []byte("{}"), CreatedAt: r.now(), SettledAt: r.now(),
					Attempts: []lease.Attempt{{ClientToken: "far.1", Min: 1, Max: 1, Sends: 1, LastSend: r.now()}},
				})
				for minute := range int64(3) {
					after(time.Minute)
					want := int64(1)
					if test.every {
						want += minute + 1
					}
					if got := far.lists.Load(); got != want {
						t.Fatalf("listed %d times %d min after it was recorded, want %d", got, minute+1, want)
					}
				}
			})
		})
	}
}

func TestAKeptListingOfAnEmptyLocationHasItsAgeAndClockSkew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newRig(t).inLeadership()
		o.joined = plan.Join(lease.Snapshot{}, nil, nil, nil)
		o.ahead.Store(int64(time.Hour))
		at := o.listings.Locations[0].At
		kept := o.listings.KnownEmpty(o.joined, o.table.pause(), o.Now())
		for _, p := range kept {
			if !p.Kept || p.Skew != time.Hour || !p.At.Equal(at) {
				t.Errorf("%+v", p)
			}
		}
		if len(kept) != 1 {
			t.Errorf("%d locations are kept, want one", len(kept))
		}
	})
}

func TestALocationIsListedInEverySweepUnlessItWasSeenEmpty(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *rig, far *remote){
		"its listing failed":             func(_ *rig, far *remote) { far.fails.Store(true) },
		"EC2 told no time":               func(_ *rig, far *remote) { far.Undated = true },
		"another registry's is there":    func(_ *rig, far *remote) { far.Instances["i-9"] = foreigner },
		"what has ended is still listed": func(_ *rig, far *remote) { far.Instances["i-9"] = gone },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			besideEmpty(t, func(r *rig, far *remote) {
				far.Mu.Lock()
				change(r, far)
				far.Mu.Unlock()
				after(20 * time.Minute)
				before := far.lists.Load()
				after(3 * time.Minute)
				if got := far.lists.Load() - before; got != 3 {
					t.Errorf("listed %d times in three minutes, want 3", got)
				}
			})
		})
	}
}

var (
	foreigner = lease.Instance{
		ID: "i-9", Zone: "ap-east-1a", State: lease.InstanceRunning, Tags: map[string]string{lease.TagRegistry: "another"},
	}
	gone = lease.Instance{
		ID: "i-9", Zone: "ap-east-1a", State: lease.InstanceTerminated, Tags: map[string]string{lease.TagRegistry: "uuid-1"},
	}
)
