package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// quiet is a logger for tests that judge by what is done.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// inLeadership is a leader whose reactions the test calls itself, with a wall clock that it sets.
type inLeadership struct {
	*leader
	ahead atomic.Int64 // of the wall clock, in nanoseconds
}

func (r *rig) inLeadership() *inLeadership {
	r.t.Helper()
	return r.inLeadershipAt(0)
}

// inLeadershipAt begins with a clock that is so far ahead.
func (r *rig) inLeadershipAt(ahead time.Duration) *inLeadership {
	r.t.Helper()
	o := &inLeadership{}
	o.ahead.Store(int64(ahead))
	j := r.janitorOf(quiet())
	j.Now = func() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }
	leadership, err := j.Campaign(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	o.leader = newLeader(j.replica, leadership)
	if _, _, err := o.pass(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return o
}

// put stores records that no transition makes.
func (r *rig) put(l lease.Lease) {
	r.t.Helper()
	l.Schema, l.ExpiresNumber, l.Account, l.Region = lease.Schema, 1, r.cloud.Where.Account, r.cloud.Where.Region
	if _, err := r.store.PutLease(r.t.Context(), l); err != nil {
		r.t.Fatal(err)
	}
}

// outage lets every call to the registry fail while it is set.
func (r *rig) outage() *atomic.Bool {
	var down atomic.Bool
	r.store.Fault = func(string) error {
		if down.Load() {
			return errors.New("etcd is away")
		}
		return nil
	}
	return &down
}

func TestAClockSetBetweenSweepsTerminatesNothing(t *testing.T) {
	t.Parallel()
	for name, corrected := range map[string]bool{"and left so": false, "and corrected before EC2 is asked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				o := r.inLeadership()
				time.Sleep(10 * time.Second)
				o.ahead.Store(int64(2 * time.Hour))
				if corrected {
					r.cloud.OnDescribe = func(int) { o.ahead.Store(0) }
				}
				o.react(t.Context())
				o.finish(passMax)
				if l := r.lease("i-1"); len(r.cloud.Ended()) > 0 || l.State != lease.StateActive || l.Mark != nil {
					t.Errorf("terminated %v, lease %s, mark %v, an hour before its expiry", r.cloud.Ended(), l.State, l.Mark)
				}
				if web, err := r.store.Launch(t.Context(), "web"); err != nil || web.State != lease.LaunchOpen {
					t.Errorf("launch %s (%v); its window is not over", web.State, err)
				}
			})
		})
	}
}

func TestAnAdoptedInstanceIsNotTerminatedForAnExpiryBeforeItsTag(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		i := r.instance("i-9", "")
		i.Tags = nil
		r.cloud.Mu.Lock()
		r.cloud.Instances["i-9"] = i
		r.cloud.Mu.Unlock()
		if _, err := r.store.PutLease(r.t.Context(), lease.Adopt(r.now(), i, r.now().Add(10*time.Minute), time.Time{}, "", nil, r.by)); err != nil {
			r.t.Fatal(err)
		}
		after(20*time.Minute + 30*time.Second)
		r.cloud.Change("i-9", func(i *lease.Instance) { i.Tags = map[string]string{lease.TagRegistry: r.reg.UUID} })
		after(35 * time.Second) // a sweep sees the tag; ten seconds of notice follow
		if l := r.lease("i-9"); len(r.cloud.Ended()) > 0 || l.Mark == nil {
			r.t.Errorf("terminated %v, mark %v; want notice first", r.cloud.Ended(), l.Mark)
		}
	})
}

func TestReleasingAHeartbeatsBrakeGivesEachLeaseItsGraceAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2", "i-3")
		j := r.janitorOf(quiet())
		j, err := New(Config{Campaign: j.Campaign, Clouds: j.Clouds, Policy: j.Policy, Schedule: "@every 15m", Now: time.Now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		j.Policy.MarkGrace, j.Policy.LoneGrace = 5*time.Minute, 5*time.Minute
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(time.Second)
		for id, timeout := range map[string]time.Duration{"i-1": time.Minute, "i-2": 2 * time.Minute, "i-3": 2 * time.Minute} {
			if _, err := r.store.Claim(t.Context(), lease.Heartbeat{InstanceID: id, BootID: "b", HeartbeatTimeout: lease.Duration(timeout), Since: r.now()}); err != nil {
				t.Fatal(err)
			}
		}
		after(65 * time.Second)
		if r.lease("i-1").Mark == nil {
			t.Fatal("not marked before there are too many")
		}
		after(25 * time.Minute) // the brake is held, and the last sweep is eleven minutes ago
		checkpoint, err := r.store.Checkpoint(t.Context())
		if err != nil || !slices.ContainsFunc(checkpoint.Brakes, func(b lease.Brake) bool { return b.Name == lease.BrakeHeartbeats && b.Count == 3 }) {
			t.Fatalf("checkpoint %+v (%v); want three lost, and held", checkpoint, err)
		}
		if _, _, err := r.store.UpdateRegistry(t.Context(), func(g lease.Registry) (lease.Registry, error) {
			return g.Lift(r.now(), lease.BrakeHeartbeats, checkpoint.Brakes, lease.By{Actor: "ada"}), nil
		}); err != nil {
			t.Fatal(err)
		}
		after(5*time.Minute - 5*time.Second)
		if got := r.cloud.Ended(); len(got) > 0 {
			t.Errorf("terminated %v, with less than a whole grace since the brake was released", got)
		}
		after(30 * time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1", "i-2", "i-3"}) {
			t.Errorf("terminated %v in the end", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAFailedSweepDoesNotStopTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", 16*time.Minute)
		down := r.outage()
		j := r.janitorOf(quiet())
		j, err := New(Config{Campaign: j.Campaign, Clouds: j.Clouds, Policy: j.Policy, Schedule: "@every 15m", Now: time.Now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(15*time.Minute - 5*time.Second)
		down.Store(true)
		after(10 * time.Second)
		down.Store(false)
		after(time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Errorf("terminated %v seconds after the expiry of i-1", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestANoticeThatRanOutDuringAnOutageStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		r.extend("i-1", time.Second)
		after(2 * time.Second) // the term passes while nobody acts
		down := r.outage()
		j := r.janitorOf(quiet())
		j.Policy.MarkGrace = 5 * time.Minute
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		after(2 * time.Second)
		if r.lease("i-1").Mark == nil {
			t.Fatal("not marked")
		}
		down.Store(true)
		after(50 * time.Minute)
		down.Store(false)
		after(4 * time.Minute)
		if got := r.cloud.Ended(); len(got) > 0 {
			t.Errorf("terminated %v; of its notice of 5 min nearly all passed while nobody could extend", got)
		}
		after(3 * time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			t.Errorf("terminated %v after a whole notice; want i-1", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAnInstanceSparedOnADescriptionIsNotDescribedForEveryChange(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1", "i-2"}, quiet(), func(r *rig) {
		r.extend("i-1", 3*time.Second)
		r.cloud.Change("i-1", func(i *lease.Instance) {
			i.Tags = map[string]string{lease.TagExempt: "", lease.TagRegistry: r.reg.UUID, lease.TagLaunch: "web.1"}
		})
		after(4 * time.Second)
		before := r.cloud.Descriptions
		for n := range 100 {
			r.extend("i-2", time.Duration(100+n)*time.Hour)
			after(200 * time.Millisecond)
		}
		if n := r.cloud.Descriptions - before; n > 0 {
			r.t.Errorf("%d descriptions in 20 s without a sweep", n)
		}
		r.cloud.Change("i-1", func(i *lease.Instance) { delete(i.Tags, lease.TagExempt) })
		r.extend("i-1", 5*time.Second)
		after(20 * time.Second) // its record is another one now
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
			r.t.Errorf("terminated %v before the next sweep, want i-1, whose expiry was moved and has passed", got)
		}
	})
}

func TestAbsenceDoesNotAddUpAcrossSightings(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		r.update("i-1", func(l lease.Lease) (lease.Lease, error) { return l.Revoke(r.now(), lease.CauseRelease, r.by) })
		r.update("i-1", func(l lease.Lease) (lease.Lease, error) { l.Tries, l.TriedAt = 9, r.now(); return l, nil })
		i := r.cloud.Instances["i-1"]
		visible := func(yes bool) {
			r.cloud.Mu.Lock()
			defer r.cloud.Mu.Unlock()
			delete(r.cloud.Instances, "i-1")
			if yes {
				r.cloud.Instances["i-1"] = i
			}
		}
		visible(false)
		after(2 * time.Minute)
		if r.lease("i-1").AbsentSince.IsZero() {
			r.t.Fatal("its absence was not noted")
		}
		visible(true)
		after(2 * time.Minute)
		if since := r.lease("i-1").AbsentSince; !since.IsZero() {
			r.t.Errorf("seen alive, and absent since %s", since)
		}
	})
}

func TestAMalformedCheckpointIsReplacedAndANewerOneStopsEverything(t *testing.T) {
	t.Parallel()
	for checkpoint, want := range map[string][]string{`{"sequence":"?"}`: {"i-1"}, `{"schema":3}`: nil} {
		running(t, []string{"i-1"}, quiet(), func(r *rig) {
			after(3 * time.Minute) // so that the number of the checkpoint which replaces it is a lower one
			r.store.Put("checkpoint", "", []byte(checkpoint))
			after(time.Minute)
			r.extend("i-1", 10*time.Minute)
			after(time.Hour)
			if got := r.cloud.Ended(); !slices.Equal(got, want) {
				r.t.Errorf("checkpoint %s: terminated %v, want %v", checkpoint, got, want)
			}
		})
	}
}

func TestOnlySweepsPurgeTombstones(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		for n := range 20 {
			r.put(lease.Lease{InstanceID: fmt.Sprintf("i-old%d", n), State: lease.StateEnded, EndedAt: r.now().Add(-31 * 24 * time.Hour)})
		}
		var deletes atomic.Int64
		r.store.Fault = func(method string) error {
			if method == "Leadership.DeleteLease" {
				deletes.Add(1)
			}
			return nil
		}
		o := r.inLeadership()
		if deletes.Load() != 20 {
			t.Errorf("the sweep let go of %d tombstones, want 20", deletes.Load())
		}
		o.react(t.Context())
		o.finish(passMax)
		if deletes.Load() != 20 {
			t.Errorf("a reaction let go of %d more", deletes.Load()-20)
		}
	})
}

func TestAnOrphanTakesTwoListingsAfterItsLaunchWasClosed(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		r.cloud.Mu.Lock()
		r.cloud.Instances["i-9"] = r.instance("i-9", "web.1")
		r.cloud.Mu.Unlock()
		after(16*time.Minute + 30*time.Second) // closed by one sweep, first seen by the next
		web, err := r.store.Launch(r.t.Context(), "web")
		if err != nil || web.State != lease.LaunchClosed || len(web.FirstSeen) != 1 || len(r.cloud.Ended()) > 0 {
			r.t.Fatalf("launch %s with sightings %v (%v), terminated %v; want one sighting and nothing terminated", web.State, web.FirstSeen, err, r.cloud.Ended())
		}
		after(2 * time.Minute)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-9"}) {
			r.t.Errorf("terminated %v after a second listing; want i-9", got)
		}
	})
}

func TestNeitherASlowLookUpNorASlowReadIsAWitness(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]func(r *rig, o *inLeadership){
		"look-up": func(r *rig, _ *inLeadership) { r.cloud.OnDescribe = func(int) { time.Sleep(40 * time.Second) } },
		"read": func(_ *rig, o *inLeadership) {
			reader := &slowReader{Leadership: o.leadership, takes: 40 * time.Second}
			reader.asked.Store(true)
			o.leadership = reader
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1", "i-2", "i-3")
				r.update("i-1", func(l lease.Lease) (lease.Lease, error) {
					l.HeartbeatTimeout = lease.Duration(10 * time.Second)
					l.Changes++
					return l, nil
				})
				delete(r.cloud.Instances, "i-3") // looked up by id at each sweep
				o := r.inLeadership()
				for id, timeout := range map[string]time.Duration{"i-1": 10 * time.Second, "i-2": time.Minute} {
					if _, err := r.store.Claim(t.Context(), lease.Heartbeat{InstanceID: id, BootID: "b", HeartbeatTimeout: lease.Duration(timeout), Since: r.now()}); err != nil {
						t.Fatal(err)
					}
				}
				for _, pause := range []time.Duration{0, 15 * time.Second, 40 * time.Second} {
					time.Sleep(pause) // both are seen to renew; i-1 is seen to have lost its heartbeat; i-2 is still there, but no longer renews
					if pause > 15*time.Second {
						slow(r, o)
					}
					if _, _, err := o.pass(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if o.joined.Row("i-1").Renewal.Witness {
					t.Error("a key that was there 40 s ago, and is not renewed, became a witness")
				}
			})
		})
	}
}

func TestARollbackUnderALeaderTerminatesNothing(t *testing.T) {
	t.Parallel()
	running(t, []string{"i-1"}, quiet(), func(r *rig) {
		r.extend("i-1", 30*time.Minute)
		after(10 * time.Minute)
		backup, checkpoint := r.store.Get("lease", "i-1"), r.store.Get("checkpoint", "")
		r.extend("i-1", 48*time.Hour)
		after(10 * time.Minute)
		r.store.Put("lease", "i-1", backup)
		r.store.Put("checkpoint", "", checkpoint)
		after(2 * time.Hour)
		if got := r.cloud.Ended(); len(got) > 0 {
			r.t.Errorf("terminated %v, a day and a half before the end of a term that the backup does not know", got)
		}
		read, err := r.store.Checkpoint(r.t.Context())
		if err != nil || !slices.ContainsFunc(read.Brakes, func(b lease.Brake) bool { return b.Name == lease.BrakeRollback }) {
			r.t.Errorf("brakes %v (%v); want the registry's return to an older state named", read.Brakes, err)
		}
	})
}

func TestAnUnansweredCheckpointWriteIsNoRollback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		o := r.inLeadership()
		lost := true
		r.store.Fault = func(method string) error {
			if method == "Leadership.PutCheckpoint" && lost {
				return context.DeadlineExceeded
			}
			return nil
		}
		if _, _, err := o.pass(t.Context()); err == nil {
			t.Fatal("a sweep without a checkpoint succeeded")
		}
		lost = false
		if _, _, err := o.pass(t.Context()); err != nil || len(o.watermark.Standing()) > 0 {
			t.Errorf("%v, %v; want an ordinary sweep", err, o.watermark.Standing())
		}
		if _, err := r.store.Campaign(t.Context(), "other", time.Minute); err != nil {
			t.Fatal(err)
		}
		if o = r.inLeadership(); len(o.watermark.Standing()) > 0 {
			t.Errorf("after another leader: %v", o.watermark.Standing())
		}
	})
}
