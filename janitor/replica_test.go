package janitor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/observe"
	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// happenings are what may become of an instance, of its sidecar, and of what is known of it.
func happenings() map[string]func(w *timeline, id string) {
	onInstance := func(change func(w *timeline, i *lease.Instance)) func(*timeline, string) {
		return func(w *timeline, id string) {
			if i := w.instance(id); i != nil {
				change(w, i)
			}
		}
	}
	onLease := func(change func(w *timeline, l *lease.Lease)) func(*timeline, string) {
		return func(w *timeline, id string) {
			if l := w.lease(id); l != nil && l.State == lease.StateActive {
				change(w, l)
			}
		}
	}
	heartbeats := func(timeout time.Duration) func(*timeline, string) {
		return onInstance(func(w *timeline, i *lease.Instance) {
			if l := w.lease(i.ID); l != nil && i.State == lease.InstanceRunning {
				*l, _ = l.Claimed(w.view.Now, Jan)
				w.view.Snapshot.Heartbeats[i.ID] = lease.Heartbeat{InstanceID: i.ID, HeartbeatTimeout: lease.Duration(timeout), Held: true, Since: w.view.Now}
			}
		})
	}
	lost := func(w *timeline, id string) { delete(w.view.Snapshot.Heartbeats, id) }
	sees := func(what ...string) func(*timeline, string) {
		return func(w *timeline, id string) {
			for _, each := range what {
				w.doubts(id, each, false)
			}
		}
	}
	all := map[string]func(*timeline, string){
		"beats":                   heartbeats(time.Minute),
		"renews seldom":           heartbeats(time.Hour),
		"loses its heartbeat":     lost,
		"loses its heartbeat too": lost, // half of what befalls sidecars
		"stops":                   onInstance(func(_ *timeline, i *lease.Instance) { i.State = lease.InstanceStopped }),
		"starts": onInstance(func(w *timeline, i *lease.Instance) {
			if i.State == lease.InstanceStopped {
				i.State, i.LaunchTime = lease.InstanceRunning, w.view.Now
			}
		}),
		"is unmarked": onLease(func(w *timeline, l *lease.Lease) { *l, _ = l.Unmark(w.view.Now, Jan) }),
		"is extended": onLease(func(w *timeline, l *lease.Lease) {
			*l, _ = l.Extend(w.view.Now, lease.Extension{Until: w.view.Now.Add(30 * time.Minute), AllowShorten: true}, Jan)
		}),
		"is caught up":    onLease(func(w *timeline, l *lease.Lease) { *l = l.CatchUp(w.view.Now, 99, Jan) }),
		"is shown again":  sees("hidden", "absent"),
		"is read again":   sees(plan.BadLease),
		"is heard again":  sees(plan.BadHeartbeat),
		"is understood":   sees("hidden", "absent", plan.BadLease, plan.BadHeartbeat),
		"is all the same": func(*timeline, string) {},
	}
	maps.Copy(all, worse())
	return all
}

// worse are those happenings that are nothing but doubt about an instance.
func worse() map[string]func(w *timeline, id string) {
	doubt := func(what string) func(*timeline, string) {
		return func(w *timeline, id string) { w.doubts(id, what, true) }
	}
	tag := func(key, value string) func(*timeline, string) {
		return func(w *timeline, id string) {
			i := w.instance(id)
			i.Tags = maps.Clone(i.Tags)
			i.Tags[key] = value
		}
	}
	return map[string]func(*timeline, string){
		"is not shown":        doubt("hidden"),
		"is absent":           doubt("absent"),
		"has a bad record":    doubt(plan.BadLease),
		"has a bad heartbeat": doubt(plan.BadHeartbeat),
		"is exempt":           tag(lease.TagExempt, ""),
		"has lost its tag":    tag(lease.TagRegistry, "another"),
		"has lost its token":  tag(lease.TagLaunch, "another"),
		"knows more": func(w *timeline, id string) {
			if hb, there := w.view.Snapshot.Heartbeats[id]; there {
				hb.Changes = 99
				w.view.Snapshot.Heartbeats[id] = hb
			}
		},
	}
}

// troubles are what may become of everything, and reliefs what takes it back.
func troubles() map[string]func(w *timeline) {
	return map[string]func(w *timeline){
		"listings fail":      func(w *timeline) { w.view.Locations[0].Err = "failed" },
		"the clock is wrong": func(w *timeline) { w.view.Locations[0].Skew = 11 * time.Second },
		"etcd is ill":        func(w *timeline) { w.view.Leadership.Unhealthy = "alarm NOSPACE" },
		"etcd elects":        func(w *timeline) { w.view.Snapshot.Term++ },
		"nobody watches":     func(w *timeline) { w.mem.Restart(w.view.Now) },
		"a person has paused": func(w *timeline) {
			w.view.Snapshot.Registry = w.view.Snapshot.Registry.To(w.view.Now, lease.ModePaused, lease.By{})
		},
		"another leads": func(w *timeline) {
			w.mem, w.view.Leadership.Checkpointed = observe.NewRenewals(), false
			w.view.Snapshot.Checkpoint.Leaderships = append(w.view.Snapshot.Checkpoint.Leaderships, w.view.Now)
		},
	}
}

func reliefs() map[string]func(w *timeline) {
	return map[string]func(w *timeline){
		"all is well": func(w *timeline) {
			w.view.Locations[0].Err, w.view.Locations[0].Skew, w.view.Leadership.Unhealthy = "", 9*time.Second, ""
		},
		"a person has armed": func(w *timeline) {
			w.view.Snapshot.Registry = w.view.Snapshot.Registry.To(w.view.Now, lease.ModeArmed, lease.By{})
		},
		"a person releases a standing brake": func(w *timeline) {
			r := &w.view.Snapshot.Registry
			*r = r.Lift(w.view.Now, lease.BrakeRollback, w.view.Standing, lease.By{Actor: "ada"})
			w.view.Standing = r.Stands(w.view.Standing)
			w.view.Snapshot.Checkpoint.Standing = w.view.Standing
		},
		"a person releases the brake for four lost": func(w *timeline) {
			var borne []lease.Brake
			for _, scope := range []string{"", "az-a", "az-b"} {
				borne = append(borne, lease.Brake{Name: lease.BrakeHeartbeats, Scope: scope, Count: 4})
			}
			w.view.Snapshot.Registry = w.view.Snapshot.Registry.Lift(w.view.Now, lease.BrakeHeartbeats, borne, lease.By{Actor: "ada"})
		},
	}
}

// useless are additions that are dead, missing or doubtful in more ways than [dead] has: some of them renew, but what
// they prove is not known.
func useless() map[string]func(*rapid.T, *World, string) {
	added := func(changes ...func(*Subject)) func(*rapid.T, *World, string) {
		return func(t *rapid.T, v *World, id string) {
			s := Holds(id, append(changes, InZone(Pick(t, "its zone", "az-a", "az-b", "")))...)
			Add(v, s)
			if s.Renewal != nil && s.Renewal.Present && OneIn(t, 2, "claimed long ago") {
				hb := v.Snapshot.Heartbeats[id]
				hb.Since, hb.HeartbeatTimeout = Ago(Long), lease.Duration(Pick(t, "heartbeat_timeout", time.Second, time.Minute))
				v.Snapshot.Heartbeats[id] = hb
			}
		}
	}
	elsewhere := func(s *Subject) { s.Instance.ZoneID, s.Instance.Zone = "az-b", "az-b" }
	all := maps.Clone(Dead())
	delete(all, "over, and renewing") // it lives, so it is a witness of renewals until its end
	maps.Copy(all, map[string]func(*rapid.T, *World, string){
		"missing and renewing":        added(Heartbeats, Missing),
		"absent and renewing":         added(Heartbeats, Absent),
		"stopped and renewing":        added(Heartbeats, Is(lease.InstanceStopped)),
		"terminated and renewing":     added(Heartbeats, Is(lease.InstanceTerminated)),
		"exempt and renewing":         added(Heartbeats, Exempt),
		"not ours and renewing":       added(Heartbeats, Foreign),
		"unbound and renewing":        added(Heartbeats, Unbound),
		"exempt, without timeout":     added(Exempt),
		"not ours, without timeout":   added(Foreign),
		"unbound, without timeout":    added(Unbound),
		"revoked and renewing":        added(Heartbeats, Revoked(lease.CauseRelease, time.Minute)),
		"adopting and renewing":       added(Heartbeats, WithLease(func(l *lease.Lease) { l.State = lease.StateAdopting }), Foreign),
		"another zone than recorded":  added(Due, elsewhere),
		"another zone, and not shown": added(Due, elsewhere, Missing),
		"revoked in another zone":     added(Lost(0), Revoked(lease.CauseHeartbeatLost, time.Minute), elsewhere),
		"a heartbeat without a lease": func(_ *rapid.T, v *World, id string) { Knows(id, 0)(v) },
		"knows more than its lease":   func(t *rapid.T, v *World, id string) { added(Heartbeats, Missing)(t, v, id); Knows(id, 9)(v) },
		"a bad heartbeat, renewing": func(t *rapid.T, v *World, id string) {
			added(Heartbeats)(t, v, id)
			delete(v.Snapshot.Heartbeats, id)
			Bad(plan.BadHeartbeat, id)(v)
		},
		"a bad lease, renewing": func(t *rapid.T, v *World, id string) {
			added(Bare)(t, v, id)
			Knows(id, 0)(v)
			Bad(plan.BadLease, id)(v)
		},
		"a bad lease, knowing more":           func(_ *rapid.T, v *World, id string) { Knows(id, 9)(v); Bad(plan.BadLease, id)(v) },
		"untracked, younger than checkpoints": added(BornOf("stray"), func(s *Subject) { s.Instance.LaunchTime = In(time.Hour) }),
	})
	return all
}

// adds lets something appear that was not there, as if it had been seen at noon.
func (w *timeline) adds(t *rapid.T, id string) {
	kinds := useless()
	kind := rapid.SampledFrom(slices.Sorted(maps.Keys(kinds))).Draw(t, "useless")
	shift := w.view.Now.Sub(Noon)
	leases := len(w.view.Snapshot.Leases)
	kinds[kind](t, &w.view, id)
	for n := leases; n < len(w.view.Snapshot.Leases); n++ {
		l := &w.view.Snapshot.Leases[n]
		for _, at := range []*time.Time{&l.ExpiresAt, &l.RevokedAt, &l.EndedAt, &l.TriedAt} {
			if !at.IsZero() {
				*at = at.Add(shift)
			}
		}
	}
}

// drawTimeline draws a world of a dozen instances, each judged by its heartbeat or by its date, and of leftovers of a
// failed launch.
func drawTimeline(t *rapid.T) *timeline {
	v := WorldOf()
	p := &v.Policy
	p.LostMin, p.LostShare = Pick(t, "lost min", 2, 1, 0, 3), Pick(t, "lost share", 0.3, 0, 0.6)
	p.RateMin, p.RateShare = Pick(t, "rate min", 1000, 1000, 2, 1), Pick(t, "rate share", 0.05, 0.3)
	p.BootGrace, p.LoneGrace = Pick(t, "boot grace", 0, 30*time.Minute), Pick(t, "lone grace", 5*time.Minute, 5*time.Minute, time.Hour)
	v.Snapshot.Launches = append(v.Snapshot.Launches, Launch("left", lease.LaunchClosed, FirstSeen(0)), Launch("web", Pick(t, "web", lease.LaunchOpen, lease.LaunchClosed), FirstSeen(0)))
	for n := range Pick(t, "subjects", 7, 10, 12, 5, 3, 2) {
		s := Holds(fmt.Sprintf("i-%02d", n), InZone(Pick(t, "zone", "az-a", "az-a", "az-b", "")))
		switch Pick(t, "judged by", 0, 0, 0, 0, 1, 2) {
		case 0:
			s.Lease.HeartbeatTimeout, s.Lease.ExpiresAt = lease.Duration(Pick(t, "heartbeat_timeout", 10*time.Second, time.Minute)), time.Time{}
			if OneIn(t, 4, "young") {
				s.Lease.GrantedAt, s.Instance.LaunchTime = Ago(time.Minute), Ago(time.Minute)
			}
			if !OneIn(t, 3, "lost from the beginning") {
				Heartbeats(&s)
				s.Lease.ClaimedAt = Ago(time.Second)
			}
			if s.Instance.ZoneID == "az-a" && OneIn(t, 3, "recorded by name") { // as an endpoint told that knows no ids
				s.Lease.ZoneID, s.Lease.Zone, s.Instance.Zone = "", "a", "a"
			}
		case 1:
			s.Lease.ExpiresAt = In(time.Duration(rapid.IntRange(-10, 60).Draw(t, "term")) * time.Minute)
		case 2:
			Bare(&s)
			token := Pick(t, "token", "left", "web")
			s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = token+".1", token+".1"
		}
		Add(&v, s)
	}
	for id, hb := range v.Snapshot.Heartbeats {
		hb.Since = Ago(time.Second)
		v.Snapshot.Heartbeats[id] = hb
	}
	return begin(t, v)
}

// twins are two timelines with the same events; the larger one has more that is dead, missing or doubtful.
type twins struct {
	*rapid.T
	small, large *timeline
	ids          []string // in both
	added        int
	story        string
	without      string // what does not happen
}

func (w *twins) draw(label string, from []string) string {
	return rapid.SampledFrom(from).Draw(w.T, label)
}

// add lets one more appear in the larger world.
func (w *twins) add() {
	w.added++
	w.large.adds(w.T, Pick(w.T, "order", "i-0", "i-05", "i-z")+fmt.Sprintf("-new-%d", w.added))
}

// happens lets something happen to an instance that lives in both worlds: in both, or only in the larger one if it is mere
// doubt.
func (w *twins) happens() {
	all, doubts := happenings(), worse()
	id, what := w.draw("to", w.ids), w.draw("happens", slices.Sorted(maps.Keys(all)))
	if what == w.without || !w.small.alive(id) || !w.large.alive(id) {
		return
	}
	w.story += fmt.Sprintf(" %s %s", id, what)
	if doubts[what] == nil || rapid.Bool().Draw(w.T, "in both") {
		all[what](w.small, id)
		w.story += " in both"
	}
	all[what](w.large, id)
	w.story += ";"
}

// troubles lets something befall everything.
func (w *twins) troubles() {
	worse, better := troubles(), reliefs()
	what := w.draw("trouble", append(slices.Sorted(maps.Keys(worse)), slices.Sorted(maps.Keys(better))...))
	w.story += " " + what
	change := worse[what]
	if change == nil {
		change = better[what]
	}
	if better[what] != nil || rapid.Bool().Draw(w.T, "for both") {
		change(w.small)
		w.story += " for both"
	}
	change(w.large)
	w.story += ";"
}

// TestIrrelevantObjectsTerminateNothingSooner lets two worlds go through the same, one of them with more that is
// dead, missing or doubtful. An instance in both is terminated in the larger one no sooner than in the smaller one:
//
//   - for a declared cause: always.
//   - for a lost heartbeat, or as a failed creation: as long as the rate has held nothing back in the smaller world. What a
//     brake holds back takes no turn, neither to be marked nor to be terminated, and the next one takes it. So from there on it
//     is the turns that are bounded, in both worlds: never more within the rate's window than it allows.
//
// What the larger world saves for longer, and the smaller one has terminated, stays as it was. If it came back to life, it would
// be one more that is healthy; and healthy ones may raise limits.
func TestIrrelevantObjectsTerminateNothingSooner(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &twins{T: t, small: drawTimeline(t)}
		w.large, w.ids = w.small.copied(), slices.Sorted(maps.Keys(w.small.first))
		// What a heartbeat tells against its lease's record is lost with it: see doubts.
		w.without = Pick(t, "without", "knows more", "has a bad heartbeat")
		for range Pick(t, "more", 1, 2, 3, 0) {
			w.add()
		}
		for range Pick(t, "steps", 8, 12, 20, 4) {
			passed, fresh := Pick(t, "passed", 5*time.Minute, time.Minute, time.Minute, time.Second, 10*time.Minute, time.Hour), rapid.Bool().Draw(t, "fresh")
			w.small.passes(passed)
			w.large.passes(passed)
			w.story += fmt.Sprintf("\n%s:", w.small.view.Now.Sub(Noon))
			for range Pick(t, "happenings", 1, 0, 2, 3) {
				w.happens()
			}
			if OneIn(t, 4, "trouble") {
				w.troubles()
			}
			if OneIn(t, 6, "one more") {
				w.add()
			}
			w.small.decides(fresh)
			w.large.decides(fresh)
			if why := w.sooner(); why != "" {
				t.Fatalf("%s\n%s\nsmaller: %s\nlarger: %s", w.story, why, Summary(w.small.plan), Summary(w.large.plan))
			}
		}
	})
}

// sooner says who was marked or ended in the larger world, and was not in the smaller one; or is empty.
func (w *twins) sooner() string {
	for _, id := range w.ids {
		if !w.small.alive(id) || w.large.alive(id) {
			continue
		}
		if cause := w.large.lease(id).Cause; cause.Declared() || !w.small.short {
			return id + " is ended for " + string(cause)
		}
	}
	for _, v := range w.large.plan.With(plan.ActMark) {
		l := w.small.lease(v.InstanceID)
		if v.Instance != nil && l != nil && l.State == lease.StateActive && l.Mark == nil && (v.Cause == lease.CauseExpired || !w.small.short) {
			return v.InstanceID + " is marked for " + string(v.Cause)
		}
	}
	return ""
}
