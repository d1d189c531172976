package janitor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// outcome is what a plan does to instances that nobody declared to end, and to all others.
type outcome struct {
	ended   map[string]bool // by any cause
	marked  map[string]bool // by inference
	removed map[string]bool // leftovers
	paced   map[string]bool // held back by the rate alone: due, and waiting for a turn
	spent   int             // silences and launches that this plan charges to the rate
}

// outcomeOf decides, and says what comes of the instances that a view knows.
func outcomeOf(v, among View) outcome {
	o := outcome{ended: map[string]bool{}, marked: map[string]bool{}, paced: map[string]bool{}, removed: map[string]bool{}}
	paid := map[string]bool{}
	for _, l := range v.Snapshot.Leases {
		if l.Cause == lease.CauseFailedCreation && v.Now.Sub(l.RevokedAt).Abs() < v.Policy.RateWindow {
			paid[l.Launch] = true
		}
	}
	for _, verdict := range decide(v).Verdicts {
		id := verdict.InstanceID
		switch {
		case verdict.Action == ActRemove:
			o.removed[verdict.Leftover.ID] = true
		case !known(among, id):
		case verdict.Action == ActMark && verdict.Cause.Inferred():
			o.marked[id] = true
		case verdict.Action == ActHold && verdict.Brake == brakeRate:
			o.paced[id] = true
		case verdict.Action == ActOrphan:
			o.ended[id] = true
			if !paid[verdict.Token] {
				paid[verdict.Token] = true
				o.spent++
			}
		case verdict.Action == ActEnd:
			o.ended[id] = true
			if verdict.Cause.Inferred() && verdict.Lease.State == lease.StateActive {
				o.spent++
			}
		}
	}
	return o
}

// dead are additions to a world: each brings something that is dead, missing, or not understood.
func dead() map[string]func(*rapid.T, *View, string) {
	added := func(changes ...func(*subject)) func(*rapid.T, *View, string) {
		return func(t *rapid.T, v *View, id string) {
			s := holds(id, append(changes, inZone(pick(t, "its zone", "az-a", "az-b")))...)
			if s.lease != nil && s.lease.TTL > 0 {
				s.lease.TTL = lease.Duration(pick(t, "its ttl", 10*time.Second, time.Minute, time.Hour))
			}
			v.add(s)
		}
	}
	return map[string]func(*rapid.T, *View, string){
		"silent":                     added(silent(0)),
		"silent and marked":          added(silent(0), marked(lease.CauseSilence, in(time.Minute))),
		"silent and due":             added(due),
		"silent, due and unseen":     added(due, unseen, alone),
		"silent and missing":         added(due, missing),
		"silent and absent":          added(due, absent),
		"silent and stopped":         added(due, is(lease.InstanceStopped)),
		"silent and terminated":      added(due, is(lease.InstanceTerminated)),
		"silent and exempt":          added(due, exempt),
		"silent and not ours":        added(due, foreign),
		"over":                       added(over(time.Minute)),
		"over long ago":              added(over(long)),
		"over, and beating":          added(beats, over(time.Minute)),
		"over and missing":           added(over(time.Minute), missing),
		"missing":                    added(missing),
		"absent":                     added(absent),
		"stopped":                    added(is(lease.InstanceStopped)),
		"released":                   added(revoked(lease.CauseRelease, time.Minute)),
		"revoked for silence":        added(silent(0), revoked(lease.CauseSilence, time.Minute)),
		"ended for silence":          added(silent(0), revoked(lease.CauseNeverBeat, time.Minute), ended(time.Second), missing),
		"failed creation, revoked":   added(revoked(lease.CauseFailedCreation, time.Minute)),
		"no record":                  added(bare),
		"bad lease":                  func(t *rapid.T, v *View, id string) { added(bare)(t, v, id); bad(badLease, id)(v) },
		"bad lease, missing":         func(_ *rapid.T, v *View, id string) { bad(badLease, id)(v) },
		"bad heartbeat":              func(t *rapid.T, v *View, id string) { added(due)(t, v, id); bad(badHeartbeat, id)(v) },
		"bad launch":                 func(_ *rapid.T, v *View, id string) { bad("launch", id)(v) },
		"in a place not swept":       added(due, withLease(func(l *lease.Lease) { l.Region = "mars-1" }), missing),
		"orphan of a launch":         addOrphan,
		"orphan of one more launch":  func(_ *rapid.T, v *View, id string) { orphans(id, 1, 2)(v) },
		"revoked of a failed launch": addFailed,
	}
}

// addOrphan adds one more instance to what a closed launch of the world left.
func addOrphan(t *rapid.T, v *View, id string) {
	for n := range v.Snapshot.Launches {
		if l := &v.Snapshot.Launches[n]; l.State == lease.LaunchClosed && l.Place() == here {
			s := holds(id, bare)
			s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = l.Attempts[0].ClientToken, l.Attempts[0].ClientToken
			l.Looks[id] = ago(pick(t, "looked", time.Hour, 0))
			v.add(s)
			return
		}
	}
}

// addFailed adds the lease of what a launch of the world left, ended a moment ago.
func addFailed(t *rapid.T, v *View, id string) {
	if len(v.Snapshot.Launches) > 0 {
		v.add(failed(id, rapid.SampledFrom(v.Snapshot.Launches).Draw(t, "failed").Token, time.Minute))
	}
}

func TestMoreThatIsDeadOnlyEverShrinksWhatEndsOfTheRest(t *testing.T) {
	t.Parallel()
	kinds := slices.Sorted(maps.Keys(dead()))
	worlds(t, func(t *rapid.T, v View) {
		before := outcomeOf(v, v)
		w := copied(v)
		for n := range rapid.IntRange(1, 4).Draw(t, "more") {
			kind := rapid.SampledFrom(kinds).Draw(t, "dead")
			// Ids that come first, in between and last: no order may matter.
			id := pick(t, "order", "i-0", "i-05", "i-z") + "-new-" + string(rune('a'+n))
			dead()[kind](t, &w, id)
		}
		shrinks(t, v, w, before)
	})
}

// shrinks compares the plans before and after a change from v to w. Trouble makes nothing due that was not. It may free
// a turn at the rate, which then goes to what was due and waited for one; but the turns themselves never grow.
func shrinks(t *rapid.T, v, w View, before outcome) {
	after := outcomeOf(w, v)
	fail := func(what string) {
		t.Fatalf("%s\nbefore: %s\nafter: %s", what, told(decide(v)), told(decide(w)))
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
		fail(fmt.Sprintf("%d ends that nobody declared, instead of %d", after.spent, before.spent))
	}
}

func known(v View, id string) bool {
	return slices.ContainsFunc(v.Snapshot.Leases, func(l lease.Lease) bool { return l.InstanceID == id }) ||
		slices.ContainsFunc(v.Places, func(p PlaceView) bool { return seenIn(p, id) != nil })
}

// doubts are changes to a world: each takes away something that was known of what is there.
func doubts() map[string]func(*rapid.T, *View) {
	some := func(t *rapid.T, label string) bool { return rapid.Bool().Draw(t, label) }
	eachPlace := func(change func(*rapid.T, *PlaceView)) func(*rapid.T, *View) {
		return func(t *rapid.T, v *View) {
			for n := range v.Places {
				if some(t, "here") {
					change(t, &v.Places[n])
				}
			}
		}
	}
	vanish := func(t *rapid.T, p *PlaceView) {
		p.Instances = slices.DeleteFunc(p.Instances, func(lease.Instance) bool { return some(t, "gone") })
	}
	return map[string]func(*rapid.T, *View){
		"listings without some instances": eachPlace(vanish),
		"listings that failed":            eachPlace(func(_ *rapid.T, p *PlaceView) { p.Err = "failed" }),
		"listings that failed, and show little": eachPlace(func(t *rapid.T, p *PlaceView) {
			p.Err = "failed"
			vanish(t, p)
		}),
		"no Date":   eachPlace(func(_ *rapid.T, p *PlaceView) { p.Dated = false }),
		"more skew": eachPlace(func(_ *rapid.T, p *PlaceView) { p.Skew = time.Hour }),
		"states unknown": eachPlace(func(t *rapid.T, p *PlaceView) {
			for n := range p.Instances {
				if p.Instances[n].State == lease.InstanceRunning && some(t, "unknown") {
					p.Instances[n].State = "" // that EC2 says it is ending would excuse a silence
				}
			}
		}),
		"tags lost": eachPlace(func(t *rapid.T, p *PlaceView) {
			for n := range p.Instances {
				if some(t, "tags") {
					delete(p.Instances[n].Tags, pick(t, "tag", lease.TagRegistry, lease.TagLaunch))
				}
			}
		}),
		"bad leases": func(t *rapid.T, v *View) {
			v.Snapshot.Leases = slices.DeleteFunc(v.Snapshot.Leases, func(l lease.Lease) bool {
				// What was ended of late counts against launches for as long as it can be read.
				if recent := v.Now.Sub(l.RevokedAt) < v.Policy.RateWindow; recent || !some(t, "bad") {
					return false
				}
				bad(badLease, l.InstanceID)(v)
				return true
			})
		},
		"bad heartbeats": func(t *rapid.T, v *View) {
			for _, l := range v.Snapshot.Leases {
				// What a heartbeat tells against its lease's record is lost with it, and is no reason to let the lease outlast
				// its term: unreadable heartbeats may be those of newer sidecars.
				if telling := v.Snapshot.Heartbeats[l.InstanceID].Changes > l.Changes; !telling && some(t, "bad") {
					bad(badHeartbeat, l.InstanceID)(v)
					delete(v.Snapshot.Heartbeats, l.InstanceID)
				}
			}
		},
		"bad launches": func(t *rapid.T, v *View) {
			v.Snapshot.Launches = slices.DeleteFunc(v.Snapshot.Launches, func(l lease.Launch) bool {
				if some(t, "bad") {
					bad("launch", l.Token)(v)
					return true
				}
				return false
			})
		},
		"leaders that change": func(_ *rapid.T, v *View) {
			v.Snapshot.Sweep.Offices = append(v.Snapshot.Sweep.Offices, noon, noon, noon)
		},
		"a new leader": func(_ *rapid.T, v *View) { v.Office.Stamped = false },
		"etcd ill":     func(_ *rapid.T, v *View) { ill(v) },
		"no witnesses": func(t *rapid.T, v *View) {
			for id, s := range v.Silences {
				if s.Witness = false; some(t, id) {
					v.Silences[id] = s
				}
			}
		},
		"keys that this leader never saw": func(t *rapid.T, v *View) {
			for _, l := range v.Snapshot.Leases {
				s, judged := v.Silences[l.InstanceID]
				// A boot that nothing was heard of yet is no silence, by §7.
				if judged && !s.Broken && !booting(*v, l, Silence{Started: s.Started}) && some(t, "unseen") {
					s.Seen = false
					v.Silences[l.InstanceID] = s
				}
			}
		},
		"registry not armed": func(t *rapid.T, v *View) {
			v.Snapshot.Registry.Mode = pick(t, "mode", lease.ModeObserve, lease.ModePaused)
		},
		"registry armed just now": func(_ *rapid.T, v *View) { v.Snapshot.Registry.ModeSince = noon },
		"no stamp":                func(_ *rapid.T, v *View) { v.Snapshot.Sweep.Acting, v.Snapshot.Sweep.Time = nil, time.Time{} },
		"no silence judged":       func(_ *rapid.T, v *View) { v.Policy.NoSilence = true },
	}
}

func TestMoreDoubtOnlyEverShrinksWhatEnds(t *testing.T) {
	t.Parallel()
	kinds := slices.Sorted(maps.Keys(doubts()))
	worlds(t, func(t *rapid.T, v View) {
		before := outcomeOf(v, v)
		w := copied(v)
		for range rapid.IntRange(1, 3).Draw(t, "doubts") {
			doubts()[rapid.SampledFrom(kinds).Draw(t, "doubt")](t, &w)
		}
		shrinks(t, v, w, before)
	})
}
