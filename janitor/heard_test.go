package janitor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// reads is a leadership whose registry is in one state for good, if it has one.
type reads struct {
	Leadership
	state *lease.Snapshot
}

func (o *reads) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	if o.state != nil {
		return *o.state, nil
	}
	return o.Leadership.Snapshot(ctx)
}

// Elected is when it was elected in that state.
func (o *reads) Elected() int64 {
	if o.state != nil {
		return o.state.Revision
	}
	return o.Leadership.Elected()
}

// Watch tells nothing: what was written after the state that is read is gone where that is.
func (o *reads) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	if o.state == nil {
		return o.Leadership.Watch(ctx, from)
	}
	changes := make(chan lease.Change)
	context.AfterFunc(ctx, func() { close(changes) })
	return changes
}

// looks sweeps. Nothing may be ended, whether or not the registry as it really is takes the checkpoint.
func (o *inLeadership) looks(ctx context.Context, r *rig) {
	r.t.Helper()
	if _, _, err := o.pass(ctx); err != nil {
		if _, refused := errors.AsType[*lease.DeposedError](err); !refused {
			r.t.Error(err)
		}
	}
	r.untouched("after a sweep", "i-1")
}

// enters gives up leadership, and takes it again, of a registry in this state, if any.
func (o *inLeadership) enters(r *rig, state *lease.Snapshot) {
	r.t.Helper()
	o.leave(r.t.Context(), "test")
	leadership, err := o.Campaign(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	o.leader = newLeader(o.replica, &reads{leadership, state})
}

// again gives up leadership, takes it again, and reads this.
func (o *inLeadership) again(r *rig, s lease.Snapshot) {
	r.t.Helper()
	o.unwatch()
	for range 2 { // in the first of these terms it comes to see nothing
		o.enters(r, &s)
	}
	o.takeIn(s, o.joining()(s), o.newest)
}

func TestAChangeLostSinceTheCheckpointIsNoticed(t *testing.T) {
	t.Parallel()
	changes := map[string]func(r *rig) lease.Change{
		"a lease": func(r *rig) lease.Change {
			r.extend("i-1", 48*time.Hour)
			l := r.lease("i-1")
			return lease.Change{Lease: &l}
		},
		"a lease that was not there": func(r *rig) lease.Change {
			l := lease.Adopt(r.now(), r.instance("i-9", ""), r.now().Add(time.Hour), time.Time{}, "", nil, r.by)
			l, err := r.store.PutLease(r.t.Context(), l)
			if err != nil {
				r.t.Fatal(err)
			}
			return lease.Change{Lease: &l}
		},
		"a launch": func(r *rig) lease.Change {
			_, l, err := r.store.UpdateLaunch(r.t.Context(), "web", func(l lease.Launch) (lease.Launch, error) { return l.Done(r.now()) })
			if err != nil {
				r.t.Fatal(err)
			}
			return lease.Change{Launch: &l}
		},
		"the registry": func(r *rig) lease.Change {
			_, reg, err := r.store.UpdateRegistry(r.t.Context(), func(reg lease.Registry) (lease.Registry, error) {
				return reg.To(r.now(), lease.ModePaused, lease.By{}), nil
			})
			if err != nil {
				r.t.Fatal(err)
			}
			return lease.Change{Registry: &reg}
		},
	}
	ways := map[string]struct {
		shown func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) // what was read before the change is shown after it
		held  bool
	}{
		"set back, and listed by the watch": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			before.Revision += 1_000_000_000 // as etcdutl restores it, with what it says to bump
			o.follow(ctx, lease.Change{Snapshot: &before}, true)
		}, true},
		"set back, as the plain restore does, and listed by the watch": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			o.leadership = &reads{o.leadership, &before}
			o.follow(ctx, lease.Change{Snapshot: &before}, true)
			o.finish(passMax)
		}, true},
		"set back, and read by a sweep": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			before.Revision += 1_000_000_000
			o.leadership = &reads{o.leadership, &before}
			o.looks(ctx, r)
		}, true},
		"set back, as the plain restore does, and read by a sweep": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			o.leadership = &reads{o.leadership, &before}
			o.looks(ctx, r)
		}, true},
		"listed late": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			o.follow(ctx, lease.Change{Snapshot: &before}, true)
			o.finish(passMax)
		}, false},
		"set back, and read in the next leadership": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			before.Revision += 1_000_000_000
			o.again(r, before)
		}, true},
		"set back, as the plain restore does, and read in the next leadership": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			o.again(r, before)
		}, true},
		"read in the next leadership, after another leader's": {func(ctx context.Context, r *rig, o *inLeadership, before lease.Snapshot) {
			before.Checkpoint.Sequence++ // who minded what there was to mind
			before.Checkpoint.Nonce = "another's"
			o.again(r, before)
		}, false},
	}
	for what, change := range changes {
		for how, way := range ways {
			t.Run(what+"/"+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, "i-1")
					o := r.inLeadership()
					before, err := r.store.Snapshot(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					o.follow(t.Context(), change(r), true)
					way.shown(t.Context(), r, o, before)
					defer func() { o.unwatch() }()
					stands := o.watermark.Standing()
					if held := len(stands) == 1 && stands[0].Name == lease.BrakeRollback; held != way.held || !held && len(stands) > 0 {
						t.Fatalf("held back by %+v, want held back: %t", stands, way.held)
					}
					if !way.held {
						return
					}
					if !o.sweepDue {
						t.Error("no sweep is due that would tell others by its checkpoint")
					}
					again := r.snapshot()
					again.Revision = o.joined.Revision
					again.Registry = again.Registry.Lift(r.now(), lease.BrakeRollback, stands, lease.By{Actor: "ada"})
					o.takeIn(again, o.joining()(again), o.newest)
					if stands := o.watermark.Standing(); len(stands) > 0 {
						t.Errorf("held back by %+v although a person has released it", stands)
					}
				})
			})
		}
	}
}

// TestASweepThatReadBeforeAChangeEngagesNoBrake: what it read is older, and nothing was set back.
func TestASweepThatReadBeforeAChangeEngagesNoBrake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		o := r.inLeadership()
		o.begin(t.Context(), func(context.Context, error) {})
		synctest.Wait() // it has read
		r.extend("i-1", 48*time.Hour)
		l := r.lease("i-1")
		o.follow(t.Context(), lease.Change{Lease: &l}, true)
		o.finish(passMax)
		defer o.unwatch()
		if stands := o.watermark.Standing(); len(stands) > 0 {
			t.Errorf("held back by %+v", stands)
		}
	})
}

// TestAnElectionTellsOfARevision has a leader that reads nothing before it loses the leadership: that it was elected is all that
// it hears of etcd since somebody extended.
func TestAnElectionTellsOfARevision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*lease.Snapshot) // of what is read in the next leadership
		held bool
	}{
		"etcd was set back": {func(*lease.Snapshot) {}, true},
		"etcd goes on":      {func(s *lease.Snapshot) { s.Revision += 1000 }, false},
		"another has led":   {func(s *lease.Snapshot) { s.Checkpoint.Sequence++; s.Checkpoint.Nonce = "another's" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				o := r.inLeadership()
				read := r.snapshot()
				c.edit(&read)
				r.extend("i-1", 48*time.Hour)
				o.unwatch()
				o.enters(r, nil)
				o.enters(r, &read)
				o.takeIn(read, o.joining()(read), o.newest)
				if stands := o.watermark.Standing(); len(stands) == 1 != c.held {
					t.Errorf("held back by %+v, want held back: %t", stands, c.held)
				}
			})
		})
	}
}

// TestASetBackBetweenElectionAndFirstReadIsNoticed: no revision is older than that of one's own election.
func TestASetBackBetweenElectionAndFirstReadIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1")
		o := r.inLeadership()
		defer func() { o.unwatch() }()
		read := r.snapshot()
		r.extend("i-1", 48*time.Hour)
		o.unwatch()
		o.enters(r, nil)
		o.takeIn(read, o.joining()(read), o.newest)
		if stands := o.watermark.Standing(); len(stands) != 1 {
			t.Errorf("held back by %+v", stands)
		}
	})
}

// late is a leadership whose first read of the registry is answered when somebody says so.
type late struct {
	Leadership
	answers chan lease.Snapshot
	then    lease.Snapshot // of the reads after that
	asked   bool
}

func (l *late) Snapshot(context.Context) (lease.Snapshot, error) {
	if !l.asked {
		l.asked = true
		return <-l.answers, nil
	}
	return l.then, nil
}

// TestASweepThatAskedBeforeASetBackDoesNotNoticeItAgain: its answer is of the history that a person has accepted meanwhile.
func TestASweepThatAskedBeforeASetBackDoesNotNoticeItAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, r := t.Context(), newRig(t, "i-1")
		o := r.inLeadership()
		before := r.snapshot()
		r.extend("i-1", 48*time.Hour)
		l := r.lease("i-1")
		o.follow(ctx, lease.Change{Lease: &l}, true)
		registry := &late{Leadership: &reads{o.leadership, &before}, answers: make(chan lease.Snapshot), then: before}
		o.leadership = registry
		o.begin(ctx, func(context.Context, error) {})
		synctest.Wait() // it has asked
		o.follow(ctx, lease.Change{Snapshot: &before}, true)
		(<-o.back)()
		stands := o.watermark.Standing()
		if len(stands) != 1 {
			t.Fatalf("held back by %+v after the registry was set back", stands)
		}
		released := before
		released.Registry = released.Registry.Lift(r.now(), lease.BrakeRollback, stands, lease.By{Actor: "ada"})
		o.takeIn(released, o.joining()(released), o.newest)
		time.Sleep(time.Second)
		registry.answers <- released
		o.finish(passMax)
		defer o.unwatch()
		if stands := o.watermark.Standing(); len(stands) > 0 {
			t.Errorf("held back by %+v although a person has released it", stands)
		}
	})
}
