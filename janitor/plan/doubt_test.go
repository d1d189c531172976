package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// outcome is what a plan does to instances that nobody declared to end, and to all others.
type outcome struct {
	ended   map[string]bool // by any cause
	marked  map[string]bool // by inference
	removed map[string]bool // leftovers
	paced   map[string]bool // held back by the rate alone: due, and waiting for a turn
	spent   int             // lost heartbeats and launches that this plan charges to the rate
}

// outcomeOf decides, and says what comes of the instances that a view knows.
func outcomeOf(v, among World) outcome {
	o := outcome{ended: map[string]bool{}, marked: map[string]bool{}, paced: map[string]bool{}, removed: map[string]bool{}}
	paid := map[string]bool{}
	for _, l := range v.Snapshot.Leases {
		if l.Cause == lease.CauseFailedCreation && v.Now.Sub(l.RevokedAt).Abs() < v.Policy.RateWindow {
			paid[l.Launch] = true
		}
	}
	for _, verdict := range Decide(v).Verdicts {
		id := verdict.InstanceID
		switch {
		case verdict.Action == plan.ActRemove:
			o.removed[verdict.Leftover.ID] = true
		case !known(among, id):
		case verdict.Action == plan.ActMark && verdict.Cause.Inferred():
			o.marked[id] = true
		case verdict.Action == plan.ActHold && verdict.Brake == plan.BrakeRate:
			o.paced[id] = true
		case verdict.Action == plan.ActOrphan:
			o.ended[id] = true
			if !paid[verdict.Token] {
				paid[verdict.Token] = true
				o.spent++
			}
		case verdict.Action == plan.ActTerminate:
			o.ended[id] = true
			if verdict.Cause.Inferred() && verdict.Lease.State == lease.StateActive {
				o.spent++
			}
		}
	}
	return o
}

func TestMoreDeadInstancesNeverTerminateMoreOfTheRest(t *testing.T) {
	t.Parallel()
	kinds := slices.Sorted(maps.Keys(Dead()))
	worlds(t, func(t *rapid.T, v World) {
		before := outcomeOf(v, v)
		w := Copied(v)
		for n := range rapid.IntRange(1, 4).Draw(t, "more") {
			kind := rapid.SampledFrom(kinds).Draw(t, "dead")
			// Ids that come first, in between and last: no order may matter.
			id := Pick(t, "order", "i-0", "i-05", "i-z") + "-new-" + string(rune('a'+n))
			Dead()[kind](t, &w, id)
		}
		shrinks(t, v, w, before)
	})
}

// shrinks compares the plans before and after a change from v to w. Trouble makes nothing due that was not. It may free
// a turn at the rate, which then goes to what was due and waited for one; but the turns themselves never grow.
func shrinks(t *rapid.T, v, w World, before outcome) {
	after := outcomeOf(w, v)
	fail := func(what string) {
		t.Fatalf("%s\nbefore: %s\nafter: %s", what, Summary(Decide(v)), Summary(Decide(w)))
	}
	for id := range after.ended {
		if !before.ended[id] && !before.paced[id] {
			fail(id + " ends now")
		}
	}
	for id := range after.marked {
		if !before.marked[id] && !before.paced[id] && !before.ended[id] {
			fail(id + " is marked now")
		}
	}
	for id := range after.removed {
		if !before.removed[id] {
			fail(id + " is removed now")
		}
	}
	if after.spent > before.spent {
		fail(fmt.Sprintf("%d terminations for inferred causes, instead of %d", after.spent, before.spent))
	}
}

func known(v World, id string) bool {
	return slices.ContainsFunc(v.Snapshot.Leases, func(l lease.Lease) bool { return l.InstanceID == id }) ||
		slices.ContainsFunc(v.Locations, func(p plan.LocationView) bool { return SeenIn(p, id) != nil })
}

// doubts are changes to a world: each takes away something that was known of what is there.
func doubts() map[string]func(*rapid.T, *World) {
	some := func(t *rapid.T, label string) bool { return rapid.Bool().Draw(t, label) }
	eachLocation := func(change func(*rapid.T, *plan.LocationView)) func(*rapid.T, *World) {
		return func(t *rapid.T, v *World) {
			for n := range v.Locations {
				if some(t, "here") {
					change(t, &v.Locations[n])
				}
			}
		}
	}
	vanish := func(t *rapid.T, p *plan.LocationView) {
		p.Instances = slices.DeleteFunc(p.Instances, func(lease.Instance) bool { return some(t, "gone") })
	}
	return map[string]func(*rapid.T, *World){
		"listings without some instances": eachLocation(vanish),
		"listings that failed":            eachLocation(func(_ *rapid.T, p *plan.LocationView) { p.Err = "failed" }),
		"listings that failed, and show little": eachLocation(func(t *rapid.T, p *plan.LocationView) {
			p.Err = "failed"
			vanish(t, p)
		}),
		"no Date":   eachLocation(func(_ *rapid.T, p *plan.LocationView) { p.Dated = false }),
		"more skew": eachLocation(func(_ *rapid.T, p *plan.LocationView) { p.Skew = time.Hour }),
		"states unknown": eachLocation(func(t *rapid.T, p *plan.LocationView) {
			for n := range p.Instances {
				if p.Instances[n].State == lease.InstanceRunning && some(t, "unknown") {
					p.Instances[n].State = "" // that EC2 reports it as shutting down would excuse a lost heartbeat
				}
			}
		}),
		"tags lost": eachLocation(func(t *rapid.T, p *plan.LocationView) {
			for n := range p.Instances {
				if some(t, "tags") {
					delete(p.Instances[n].Tags, Pick(t, "tag", lease.TagRegistry, lease.TagLaunch))
				}
			}
		}),
		"bad leases": func(t *rapid.T, v *World) {
			v.Snapshot.Leases = slices.DeleteFunc(v.Snapshot.Leases, func(l lease.Lease) bool {
				// What was ended of late counts against launches for as long as it can be read.
				if recent := v.Now.Sub(l.RevokedAt) < v.Policy.RateWindow; recent || !some(t, "bad") {
					return false
				}
				Bad(plan.BadLease, l.InstanceID)(v)
				return true
			})
		},
		"bad heartbeats": func(t *rapid.T, v *World) {
			for _, l := range v.Snapshot.Leases {
				// What a heartbeat tells against its lease's record is lost with it, and is no reason to let the lease outlast
				// its term: unreadable heartbeats may be those of newer sidecars.
				if telling := v.Snapshot.Heartbeats[l.InstanceID].Changes > l.Changes; !telling && some(t, "bad") {
					Bad(plan.BadHeartbeat, l.InstanceID)(v)
					delete(v.Snapshot.Heartbeats, l.InstanceID)
				}
			}
		},
		"bad launches": func(t *rapid.T, v *World) {
			v.Snapshot.Launches = slices.DeleteFunc(v.Snapshot.Launches, func(l lease.Launch) bool {
				if some(t, "bad") {
					Bad("launch", l.Token)(v)
					return true
				}
				return false
			})
		},
		"leaders that change": func(_ *rapid.T, v *World) {
			v.Snapshot.Checkpoint.Leaderships = append(v.Snapshot.Checkpoint.Leaderships, Noon, Noon, Noon)
		},
		"a new leader": func(_ *rapid.T, v *World) { v.Leadership.Checkpointed = false },
		"etcd ill":     func(_ *rapid.T, v *World) { Ill(v) },
		"no witnesses": func(t *rapid.T, v *World) {
			for id, s := range v.Renewals {
				if s.Witness = false; some(t, id) {
					v.Renewals[id] = s
				}
			}
		},
		"keys that this leader never saw": func(t *rapid.T, v *World) {
			for _, l := range v.Snapshot.Leases {
				s, judged := v.Renewals[l.InstanceID]
				// A boot without any heartbeat yet is no loss, by §7.
				if judged && !s.Present && !booting(*v, l, plan.Renewal{Started: s.Started}) && some(t, "unseen") {
					s.Seen = false
					v.Renewals[l.InstanceID] = s
				}
			}
		},
		"registry not armed": func(t *rapid.T, v *World) {
			v.Snapshot.Registry.Mode = Pick(t, "mode", lease.ModeObserve, lease.ModePaused)
		},
		"registry armed just now": func(_ *rapid.T, v *World) { v.Snapshot.Registry.ModeSince = Noon },
		"no checkpoint": func(_ *rapid.T, v *World) {
			v.Snapshot.Checkpoint.Enforcing, v.Snapshot.Checkpoint.Time = nil, time.Time{}
		},
		"no heartbeat judged": func(_ *rapid.T, v *World) { v.Policy.SkipHeartbeats = true },
	}
}

func TestMoreDoubtNeverTerminatesMore(t *testing.T) {
	t.Parallel()
	kinds := slices.Sorted(maps.Keys(doubts()))
	worlds(t, func(t *rapid.T, v World) {
		before := outcomeOf(v, v)
		w := Copied(v)
		for range rapid.IntRange(1, 3).Draw(t, "doubts") {
			doubts()[rapid.SampledFrom(kinds).Draw(t, "doubt")](t, &w)
		}
		shrinks(t, v, w, before)
	})
}
