package janitor

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// The judge has two clocks: a wall clock, which people and records agree on and which may be set, and a monotonic one, which
// stands still while its machine is suspended. EC2's Date is what the wall clock is held against.

// steps sets the wall clock ahead of what EC2 and everybody else say.
func (o *inLeadership) steps(r *rig, d time.Duration) {
	o.ahead.Add(int64(d))
	r.cloud.Mu.Lock()
	defer r.cloud.Mu.Unlock()
	r.cloud.Skew += d
}

// suspended lets time pass for everybody but this machine, whose wall clock is right again at once. Its processes did
// not run, and their monotonic clock stopped.
func (o *inLeadership) suspended(d time.Duration) { o.ahead.Add(int64(d)) }

// sweeps makes one sweep, and returns which brakes its checkpoint names.
func (o *inLeadership) sweeps(r *rig) (held []string) {
	r.t.Helper()
	if _, _, err := o.pass(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	checkpoint, err := r.store.Checkpoint(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range checkpoint.Brakes {
		held = append(held, b.Name+": "+b.Reason)
	}
	return held
}

// reacts lets it react to the records as they are now.
func (o *inLeadership) reacts(r *rig) {
	r.t.Helper()
	snapshot, err := r.store.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	o.takeIn(snapshot, o.joining()(snapshot), 0)
	o.react(r.t.Context())
	o.finish(passMax)
}

// untouched fails if anything was marked or ended.
func (r *rig) untouched(when string, ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if l := r.lease(id); l.State != lease.StateActive || l.Mark != nil {
			r.t.Errorf("%s: the lease of %s is %s, with mark %v", when, id, l.State, l.Mark)
		}
	}
	if got := r.cloud.Ended(); len(got) > 0 {
		r.t.Errorf("%s: terminated %v", when, got)
	}
}

// judged runs a test of the janitor's clock over i-1, i-2 and i-3, whose leases expire in an hour and are renewed for
// ten minutes.
func judged(t *testing.T, test func(*rig, *inLeadership)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2", "i-3")
		o := r.inLeadership()
		for _, id := range []string{"i-1", "i-2", "i-3"} {
			if _, err := r.store.Claim(t.Context(), lease.Heartbeat{InstanceID: id, BootID: "b", HeartbeatTimeout: lease.Duration(10 * time.Minute), Since: r.now()}); err != nil {
				t.Fatal(err)
			}
		}
		if held := o.sweeps(r); len(held) > 0 {
			t.Fatalf("held back by %q from the beginning", held)
		}
		test(r, o)
	})
}

func TestALeaseThatExpiredWhileTheMachineWasSuspendedGetsNotice(t *testing.T) {
	t.Parallel()
	judged(t, func(r *rig, o *inLeadership) {
		o.suspended(2 * time.Hour)
		o.reacts(r)
		r.untouched("right after waking", "i-1", "i-2", "i-3")
		if held := o.sweeps(r); len(held) > 0 {
			r.t.Errorf("held back by %q, although the clocks agree", held)
		}
		if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Mark == nil {
			r.t.Fatalf("terminated %v, mark %v; want notice first, since nobody was enforcing", got, r.lease("i-1").Mark)
		}
		after(9 * time.Second)
		o.reacts(r)
		if got := r.cloud.Ended(); len(got) > 0 {
			r.t.Errorf("terminated %v within the notice", got)
		}
		after(2 * time.Second)
		o.reacts(r)
		if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1", "i-2", "i-3"}) {
			r.t.Errorf("terminated %v after the notice", got)
		}
	})
}

func TestALostHeartbeatDoesNotCountWhileTheMachineWasSuspended(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*rig, *inLeadership){
		"a reaction comes first": func(r *rig, o *inLeadership) { o.reacts(r) },
		"a sweep comes first":    func(r *rig, o *inLeadership) { o.sweeps(r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged(t, func(r *rig, o *inLeadership) {
				for _, id := range []string{"i-1", "i-2", "i-3"} {
					r.extend(id, 48*time.Hour)
				}
				o.Policy.LoneGrace = o.Policy.MarkGrace
				o.sweeps(r)
				r.store.Lapse("i-1")
				o.sweeps(r)
				if r.lease("i-1").Mark == nil {
					r.t.Fatal("the lost one was not marked")
				}
				after(9 * time.Second) // of its notice of ten
				o.suspended(3 * time.Hour)
				after(time.Second)
				first(r, o) // sidecars that were cut off have had no time to come back
				if got := r.cloud.Ended(); len(got) > 0 {
					r.t.Fatalf("terminated %v a second after waking", got)
				}
				o.sweeps(r)
				after(9 * time.Second)
				o.reacts(r)
				if got := r.cloud.Ended(); len(got) > 0 {
					r.t.Errorf("terminated %v before a whole grace since", got)
				}
				after(2 * time.Second)
				o.reacts(r)
				if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
					r.t.Errorf("terminated %v after another grace, want i-1", got)
				}
			})
		})
	}
}

func TestASuspensionBeforeTheTerminationCausesAnotherDescription(t *testing.T) {
	t.Parallel()
	judged(t, func(r *rig, o *inLeadership) {
		r.extend("i-1", time.Second)
		after(2 * time.Second)
		asleep := false
		r.store.Fault = func(method string) error {
			if method == "Leadership.Revoke" && !asleep {
				asleep = true
				o.suspended(time.Minute)
				r.cloud.Change("i-1", func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" })
			}
			return nil
		}
		o.sweeps(r)
		if got := r.cloud.Ended(); !asleep || len(got) > 0 {
			r.t.Errorf("terminated %v by what EC2 said before the machine was suspended (%t); it is exempt since", got, asleep)
		}
	})
}

func TestAWrongClockHoldsBackExpiriesUntilItIsRight(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour back": -time.Hour} {
		for when, set := range map[string]func(*rig, *inLeadership){
			"between sweeps": func(r *rig, o *inLeadership) {
				o.steps(r, step)
				o.reacts(r)
			},
			"after EC2 was asked": func(r *rig, o *inLeadership) {
				once := false
				r.store.Fault = func(method string) error {
					if method == "Snapshot" && !once {
						once = true
						o.steps(r, step)
					}
					return nil
				}
			},
			"between decision and end": func(r *rig, o *inLeadership) {
				once := false
				r.cloud.OnReserve = func() error {
					if !once {
						once = true
						o.steps(r, step)
					}
					return nil
				}
			},
		} {
			t.Run(name+"/"+when, func(t *testing.T) {
				t.Parallel()
				judged(t, func(r *rig, o *inLeadership) {
					r.extend("i-1", 30*time.Second) // passes while the clock is wrong
					set(r, o)
					after(40 * time.Second)
					o.sweeps(r)
					r.untouched("while the clock is wrong", "i-1", "i-2", "i-3")
					for range 3 {
						after(time.Minute)
						if held := o.sweeps(r); len(held) != 1 || !strings.HasPrefix(held[0], "clock: the local clock is 1h0m0s ") {
							r.t.Fatalf("held back by %q, want the clock named", held)
						}
					}
					r.untouched("while the clock is wrong", "i-1", "i-2", "i-3")
					if web, err := r.store.Launch(r.t.Context(), "web"); err != nil || web.State != lease.LaunchOpen {
						r.t.Errorf("launch %s (%v); its window is not over", web.State, err)
					}
					o.steps(r, -step)
					if held := o.sweeps(r); len(held) > 0 {
						r.t.Errorf("held back by %q after the clock was set right", held)
					}
					if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Mark == nil {
						r.t.Fatalf("terminated %v, mark %v; want notice first", got, r.lease("i-1").Mark)
					}
					after(11 * time.Second)
					o.reacts(r)
					if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
						r.t.Errorf("terminated %v after the notice", got)
					}
				})
			})
		}
	}
}

func TestNothingIsTerminatedForALostHeartbeatWhileTheClockIsWrong(t *testing.T) {
	t.Parallel()
	undated := func(yes bool) func(*rig, *inLeadership) {
		return func(r *rig, _ *inLeadership) {
			r.cloud.Mu.Lock()
			defer r.cloud.Mu.Unlock()
			r.cloud.Undated = yes
		}
	}
	ahead := func(d time.Duration) func(*rig, *inLeadership) {
		return func(r *rig, o *inLeadership) { o.steps(r, d) }
	}
	for name, c := range map[string]struct {
		wrong, right func(*rig, *inLeadership)
	}{
		"an hour ahead":   {ahead(time.Hour), ahead(-time.Hour)},
		"an hour back":    {ahead(-time.Hour), ahead(time.Hour)},
		"not told by EC2": {undated(true), undated(false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged(t, func(r *rig, o *inLeadership) {
				for _, id := range []string{"i-1", "i-2", "i-3"} {
					r.extend(id, 48*time.Hour)
				}
				o.Policy.LoneGrace = o.Policy.MarkGrace
				o.sweeps(r)
				r.store.Lapse("i-1")
				c.wrong(r, o)
				for range 4 {
					o.sweeps(r)
					after(time.Minute)
				}
				if got := r.cloud.Ended(); len(got) > 0 {
					r.t.Fatalf("terminated %v: whether its date is right was not known", got)
				}
				c.right(r, o)
				for range 3 {
					o.sweeps(r)
					after(time.Minute)
				}
				if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) { // with a notice that no wrong clock has dated
					r.t.Errorf("terminated %v after the clock was right again, want i-1", got)
				}
			})
		})
	}
}

// A clock may run wrong by so little that no single look shows it.
func TestASlowDriftIsToleratedUpToTenSeconds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		listed, since time.Duration // what EC2's Date showed, and what came since
		held          bool
	}{
		"nine seconds":                            {9 * time.Second, 0, false},
		"nine seconds behind":                     {-9 * time.Second, 0, false},
		"eleven seconds":                          {11 * time.Second, 0, true},
		"eleven seconds behind":                   {-11 * time.Second, 0, true},
		"nine seconds, and one more since":        {9 * time.Second, time.Second, false},
		"nine seconds, and two more since":        {9 * time.Second, 2 * time.Second, true},
		"nine seconds behind, and two more since": {-9 * time.Second, -2 * time.Second, true},
		"nine seconds behind, and 18 ahead since": {-9 * time.Second, 18 * time.Second, false},
		"nine seconds behind, and 20 ahead since": {-9 * time.Second, 20 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged(t, func(r *rig, o *inLeadership) {
				for range 9 {
					o.steps(r, c.listed/9)
					o.sweeps(r)
					after(time.Minute)
				}
				r.extend("i-1", time.Minute)
				o.sweeps(r)
				after(90 * time.Second)
				o.steps(r, c.since)
				o.reacts(r)
				if got := HeldBy(plan.Plan{Brakes: o.announcer.brakes}, plan.BrakeClock, r.cloud.Where.String()); got != c.held || (len(r.cloud.Ended()) == 0) != c.held {
					r.t.Errorf("held back %t, terminated %v; want held back %t", got, r.cloud.Ended(), c.held)
				}
			})
		})
	}
}

func TestAClockThatIsAYearWrongAtTheStartTerminatesNothingAndIsReported(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, wrong := range map[string]time.Duration{"ahead": year, "behind": -year} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1", "i-2", "i-3")
				r.extend("i-1", 30*time.Second)
				r.cloud.Skew = wrong
				o := r.inLeadershipAt(wrong)
				for range 5 { // i-2 and i-3 never renew
					if held := o.sweeps(r); !slices.ContainsFunc(held, func(b string) bool {
						return strings.HasPrefix(b, "clock: the local clock is 8760h0m0s "+name)
					}) {
						r.t.Fatalf("held back by %q, want the clock named", held)
					}
					o.reacts(r)
					after(30 * time.Minute)
				}
				if got := r.cloud.Ended(); len(got) > 0 {
					r.t.Fatalf("terminated %v by a clock that is a year wrong", got)
				}
				if web, err := r.store.Launch(r.t.Context(), "web"); err != nil || web.State != lease.LaunchOpen {
					r.t.Errorf("launch %s (%v), settled by a clock that is a year wrong", web.State, err)
				}
				o.steps(r, -wrong)
				if held := o.sweeps(r); slices.ContainsFunc(held, func(b string) bool { return strings.HasPrefix(b, "clock") }) {
					r.t.Errorf("held back by %q after the clock was set right", held)
				}
				if got := r.cloud.Ended(); len(got) > 0 || r.lease("i-1").Mark == nil {
					r.t.Errorf("terminated %v, mark %v; want notice first", got, r.lease("i-1").Mark)
				}
			})
		})
	}
}

// TestACheckpointIsDatedByEC2IfTheClockIsWrong: whoever leads next, by a clock that is right again, tells by that date for how
// long nobody watched.
func TestACheckpointIsDatedByEC2IfTheClockIsWrong(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]time.Duration{
		"right": 0, "as far ahead as may be": 10 * time.Second, "ahead": 15 * time.Minute, "behind": -15 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged(t, func(r *rig, o *inLeadership) {
				dated := func() time.Duration {
					after(time.Minute)
					o.sweeps(r)
					checkpoint, err := r.store.Checkpoint(r.t.Context())
					if err != nil {
						r.t.Fatal(err)
					}
					return checkpoint.Time.Sub(r.now())
				}
				o.steps(r, set)
				want := set
				if set.Abs() > o.Policy.MaxSkew {
					want = 0
				}
				if by := dated(); (by - want).Abs() > time.Millisecond {
					r.t.Errorf("a checkpoint is dated ahead by %s, want %s", by, want)
				}
				if checkpoint, err := r.store.Checkpoint(r.t.Context()); err != nil || checkpoint.Witnessed.Sub(r.now()).Abs() > o.Policy.MaxSkew {
					r.t.Errorf("witnessed at %s, want about %s (%v)", checkpoint.Witnessed, r.now(), err)
				}
				r.cloud.Undated = true // EC2 tells its time no more
				if by := dated(); (by - want).Abs() > time.Millisecond {
					r.t.Errorf("a checkpoint after EC2 stopped answering is dated ahead by %s, want %s", by, want)
				}
				o.steps(r, time.Hour)
				if by := dated(); by.Abs() > o.Policy.MaxSkew {
					r.t.Errorf("a checkpoint after the clock was set while EC2 did not answer is dated ahead by %s", by)
				}
			})
		})
	}
}

// What is written although the clock is wrong, since EC2's word alone makes it so, is dated by EC2's. A record that was dated a
// year back would be let go of at once.
func TestTheEndOfALeaseIsDatedByEC2IfTheClockIsWrong(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"a year behind": -365 * 24 * time.Hour, "an hour ahead": time.Hour, "right": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged(t, func(r *rig, o *inLeadership) {
				o.sweeps(r)
				o.steps(r, by)
				r.cloud.Turn("i-1", lease.InstanceTerminated)
				o.sweeps(r)
				l := r.lease("i-1")
				if off := time.Since(l.EndedAt).Abs(); l.State != lease.StateEnded || off > time.Minute {
					t.Errorf("%s, dated %s off", l.State, off)
				}
				if off := time.Since(l.History[len(l.History)-1].Time).Abs(); off > time.Minute {
					t.Errorf("its history is dated %s off", off)
				}
			})
		})
	}
}
