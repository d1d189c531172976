package observe

import (
	"maps"
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// watcher drives one leader's memory along a time line, second by second if need be.
type watcher struct {
	t        *testing.T
	m        *Renewals
	joined   *plan.Joined
	now      time.Time
	state    lease.Snapshot
	location plan.LocationView
}

// watch begins with two leases in one zone, i-1 and i-2, both running and renewing.
func watch(t *testing.T) *watcher {
	t.Helper()
	v := WorldOf(Holds("i-1", Heartbeats), Holds("i-2", Heartbeats))
	w := &watcher{t: t, now: Noon, state: v.Snapshot, location: v.Locations[0]}
	w.m = NewRenewals()
	for id := range w.state.Heartbeats {
		w.heartbeats(id)
	}
	return w
}

func (w *watcher) at(d time.Duration) *watcher {
	w.now = Noon.Add(d)
	return w
}

func (w *watcher) observe(fresh bool) *watcher {
	var read time.Time
	if fresh {
		read = w.now
	}
	w.joined = w.join()
	w.m.Observe(w.now, read, w.joined)
	return w
}

// join puts the world of now side by side.
func (w *watcher) join() *plan.Joined {
	s, locations := w.state, []plan.LocationView{w.location}
	s.Leases, s.Heartbeats = slices.Clone(s.Leases), maps.Clone(s.Heartbeats)
	locations[0].Instances = slices.Clone(locations[0].Instances)
	return plan.Join(s, locations, plan.Indexed(locations), nil)
}

// renewal is what a decision made now would be told.
func (w *watcher) renewal(id string) plan.Renewal {
	w.t.Helper()
	b := w.m.by[id]
	if b == nil {
		w.t.Fatalf("nothing is remembered of %s", id)
	}
	return b.renewal(w.now, w.m.witness[b.zone])
}

func (w *watcher) heartbeats(id string) *watcher {
	w.state.Heartbeats[id] = lease.Heartbeat{InstanceID: id, HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Held: true, Since: w.now}
	return w
}

func (w *watcher) lapses(id string) *watcher {
	delete(w.state.Heartbeats, id)
	return w
}

func (w *watcher) lease(id string, change func(*lease.Lease)) *watcher {
	for n := range w.state.Leases {
		if w.state.Leases[n].InstanceID == id {
			change(&w.state.Leases[n])
		}
	}
	return w
}

func (w *watcher) instance(id string, change func(*lease.Instance)) *watcher {
	for n := range w.location.Instances {
		if w.location.Instances[n].ID == id {
			change(&w.location.Instances[n])
		}
	}
	return w
}

func (w *watcher) turns(state lease.InstanceState) *watcher {
	return w.instance("i-1", func(i *lease.Instance) { i.State = state })
}

func (w *watcher) want(want plan.Renewal) {
	w.t.Helper()
	got := w.renewal("i-1")
	got.Zone, got.EverSeen, got.Missing = "", false, 0
	if got.Present { // then heartbeats are not judged
		got.For, got.Witness = 0, false
	}
	if got != want {
		w.t.Errorf("at %s: %+v, want %+v", w.now.Sub(Noon), got, want)
	}
}

const minute = time.Minute

func TestMemoryOfAKey(t *testing.T) {
	t.Parallel()
	t.Run("present: no loss", func(t *testing.T) {
		t.Parallel()
		watch(t).observe(true).want(plan.Renewal{Present: true, Seen: true})
	})
	t.Run("gone: lost from when it was first not there", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true).at(minute).lapses("i-1").observe(false)
		w.want(plan.Renewal{Seen: true})
		w.at(4 * minute).observe(false).want(plan.Renewal{Seen: true, For: 3 * minute})
	})
	t.Run("back: no loss, and a new one starts again", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true).at(minute).lapses("i-1").observe(false).at(2 * minute).heartbeats("i-1").observe(false)
		if s := w.renewal("i-1"); !s.Present {
			t.Errorf("%+v", s)
		}
		w.at(9 * minute).lapses("i-1").observe(false).at(10 * minute).observe(false).want(plan.Renewal{Seen: true, For: minute})
	})
	t.Run("never there: unseen, from becoming leader", func(t *testing.T) {
		t.Parallel()
		watch(t).lapses("i-1").observe(true).at(7 * minute).want(plan.Renewal{For: 7 * minute})
	})
	t.Run("a ghost without an etcd lease is lost", func(t *testing.T) {
		t.Parallel()
		w := watch(t)
		ghost := w.state.Heartbeats["i-1"]
		ghost.Held = false
		w.state.Heartbeats["i-1"] = ghost
		w.observe(true).at(minute).observe(true).want(plan.Renewal{For: minute})
	})
	t.Run("one that cannot be read is there, and says no more", func(t *testing.T) {
		t.Parallel()
		w := watch(t).lapses("i-1")
		w.state.Bad = []lease.BadRecord{{Kind: plan.BadHeartbeat, ID: "i-1"}}
		w.observe(true).want(plan.Renewal{Present: true})
	})
	t.Run("a lease that cannot be read says nothing of the key", func(t *testing.T) {
		t.Parallel()
		w := watch(t).lapses("i-1")
		w.state.Bad = []lease.BadRecord{{Kind: plan.BadLease, ID: "i-1"}}
		w.observe(true).want(plan.Renewal{})
	})
}

func TestMemoryKeepsOnlyActiveLeasesWithAHeartbeatTimeout(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*lease.Lease){
		"revoked":   func(l *lease.Lease) { l.State = lease.StateRevoked },
		"adopting":  func(l *lease.Lease) { l.State = lease.StateAdopting },
		"without":   func(l *lease.Lease) { l.HeartbeatTimeout = 0 },
		"a wrong 1": func(l *lease.Lease) { l.HeartbeatTimeout = -1 },
	} {
		w := watch(t).observe(true).lease("i-1", change).observe(true)
		if s := w.joined.Row("i-1").Renewal; w.m.by["i-1"] != nil || s != (plan.Renewal{}) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestEventsThatRestartTheHeartbeatTimer(t *testing.T) {
	t.Parallel()
	// i-1 loses its heartbeat at one minute, something happens at five, and the loss is read at eight.
	for name, happens := range map[string]func(*watcher){
		"after a unmark or an extension": func(w *watcher) { w.lease("i-1", func(l *lease.Lease) { l.CuredAt = w.now }).observe(false) },
		"in a new raft term":             func(w *watcher) { w.state.Term++; w.observe(true) },
		"when etcd was ill":              func(w *watcher) { w.m.Restart(w.now) },
		"while a heartbeats brake holds": func(w *watcher) {
			w.m.Held(w.now, []plan.Verdict{{InstanceID: "i-1", Action: plan.ActHold, Brake: plan.BrakeHeartbeats}})
		},
		"while the health brake holds": func(w *watcher) {
			w.m.Held(w.now, []plan.Verdict{{InstanceID: "i-1", Action: plan.ActHold, Brake: plan.BrakeHealth}})
		},
		"when it is not shown": func(w *watcher) {
			all := w.location.Instances
			w.location.Instances = all[1:]
			w.observe(true)
			w.location.Instances = all
		},
		"while it does not run": func(w *watcher) { w.turns(lease.InstanceStopped).observe(true).turns(lease.InstanceRunning) },
		"when it was started unseen, by its LaunchTime": func(w *watcher) {
			w.instance("i-1", func(i *lease.Instance) { i.LaunchTime = w.now })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t).observe(true).at(minute).lapses("i-1").observe(false).at(5 * minute)
			happens(w)
			w.observe(true)
			if got := w.at(8 * minute).observe(true).renewal("i-1"); got.For != 3*minute || got.Present {
				t.Errorf("%+v, want three minutes", got)
			}
		})
	}
	for name, verdicts := range map[string][]plan.Verdict{
		"while the rate brake holds it":   {{InstanceID: "i-1", Action: plan.ActHold, Brake: plan.BrakeRate}},
		"while a brake holds another one": {{InstanceID: "i-2", Action: plan.ActHold, Brake: plan.BrakeHeartbeats}, {InstanceID: "i-9", Action: plan.ActHold}},
		"while it is merely kept":         {{InstanceID: "i-1", Action: plan.ActNone}},
	} {
		t.Run("not "+name, func(t *testing.T) {
			t.Parallel()
			w := watch(t).observe(true).at(minute).lapses("i-1").observe(false).at(5 * minute)
			w.m.Held(w.now, verdicts)
			if got := w.at(8 * minute).observe(true).renewal("i-1"); got.For != 7*minute {
				t.Errorf("%+v, want seven minutes", got)
			}
		})
	}
}

func TestTheGraceOfHeldLeasesStartsWhenTheBrakeIsSeenReleased(t *testing.T) {
	t.Parallel()
	w := watch(t).observe(true).at(minute).lapses("i-1").observe(false).at(2 * minute)
	w.m.Held(w.now, []plan.Verdict{{InstanceID: "i-1", Action: plan.ActHold, Brake: plan.BrakeHeartbeats}})
	if got := w.at(16 * minute).observe(true).renewal("i-1"); got.For != 0 {
		t.Errorf("found released a quarter of an hour after the last decision, and lost for %s by then", got.For)
	}
	if got := w.at(19 * minute).observe(true).renewal("i-1"); got.For != 3*minute {
		t.Errorf("lost for %s, three minutes after the brake was released", got.For)
	}
}

func TestTheGraceOfAnUnlistedInstanceStartsWhenItIsListedAgain(t *testing.T) {
	t.Parallel()
	w := watch(t).observe(true).at(minute).lapses("i-1").observe(false)
	all := w.location.Instances
	w.location.Instances = nil
	w.at(2 * minute).observe(true)
	w.location.Instances = all
	if got := w.at(16 * minute).observe(true).renewal("i-1"); got.For != 0 {
		t.Errorf("shown again a quarter of an hour after the listing that failed, and lost for %s by then", got.For)
	}
}

func TestAHeartbeatSeenSinceAStartCountsUntilTheNextStart(t *testing.T) {
	t.Parallel()
	w := watch(t).observe(true)
	heard := func(when string, want bool) {
		t.Helper()
		if s := w.renewal("i-1"); s.EverSeen != want {
			t.Errorf("%s: %+v, want heard %t", when, s, want)
		}
	}
	heard("it renews", true)
	w.lapses("i-1").at(minute).observe(true)
	heard("silent", true)
	all := w.location.Instances
	w.location.Instances = nil
	w.at(2 * minute).observe(true)
	heard("not shown", true)
	w.location.Instances = all
	w.at(3 * minute).observe(true)
	heard("shown again", true)
	w.instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(3 * minute) }).at(4 * minute).observe(true)
	heard("restarted", false)
	w.at(5 * minute).heartbeats("i-1").observe(true)
	heard("it renews again", true)
	if w = watch(t).lapses("i-1").observe(true); w.renewal("i-1").EverSeen {
		t.Error("never seen, and heard")
	}
}

func TestAnUnlistedInstanceKeepsItsZone(t *testing.T) {
	t.Parallel()
	w := watch(t).instance("i-1", func(i *lease.Instance) { i.ZoneID = "az-x" }).observe(true)
	w.location.Instances = w.location.Instances[1:]
	if got := w.at(minute).observe(true).renewal("i-1").Zone; got != "az-x" {
		t.Errorf("it is in %q, want the zone where it was shown", got)
	}
}

func TestMemoryOfAStart(t *testing.T) {
	t.Parallel()
	t.Run("stopped and started: not seen since, and started then", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true).at(minute).lapses("i-1").turns(lease.InstanceStopped).observe(true)
		w.at(2 * minute).turns(lease.InstancePending).observe(true)
		w.at(3 * minute).turns(lease.InstanceRunning).observe(true)
		w.at(5 * minute).want(plan.Renewal{For: 2 * minute, Started: 2 * minute})
	})
	t.Run("stopped, not shown, and started: the same", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true).at(minute).lapses("i-1").turns(lease.InstanceStopped).observe(true)
		all := w.location.Instances
		w.location.Instances = nil
		w.at(2 * minute).observe(true)
		w.location.Instances = all
		w.at(3 * minute).turns(lease.InstanceRunning).observe(true)
		w.at(5 * minute).want(plan.Renewal{For: 2 * minute, Started: 2 * minute})
	})
	t.Run("started unseen: LaunchTime tells", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true).at(minute).lapses("i-1").observe(true)
		w.at(3*minute).instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(2 * minute) }).observe(true)
		w.at(5 * minute).want(plan.Renewal{For: 2 * minute, Started: 2 * minute})
	})
	t.Run("the key of the boot before outlasts a start: not seen since", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true)
		w.at(minute).turns(lease.InstanceStopped).observe(true)
		if s := w.renewal("i-1"); s.Seen {
			t.Errorf("stopped: %+v", s)
		}
		w.at(2*minute).turns(lease.InstanceRunning).instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(2 * minute) })
		w.observe(true).want(plan.Renewal{Present: true})
		w.at(3 * minute).lapses("i-1").observe(true).want(plan.Renewal{Started: minute})
		w.at(4 * minute).heartbeats("i-1").observe(true).want(plan.Renewal{Present: true, Seen: true, Started: 2 * minute})
	})
	t.Run("the key of the boot before, by a clock that is ahead: not seen since", func(t *testing.T) {
		t.Parallel()
		ahead := func(w *watcher, boot string) *watcher {
			w.state.Heartbeats["i-1"] = lease.Heartbeat{InstanceID: "i-1", BootID: boot, HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Held: true, Since: Noon.Add(time.Hour)}
			return w
		}
		w := ahead(watch(t), "before").observe(true)
		w.at(2*minute).instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(2 * minute) })
		w.observe(true).at(3 * minute).want(plan.Renewal{Present: true, Started: minute})
		ahead(w, "after").observe(true).want(plan.Renewal{Present: true, Seen: true, Started: minute})
	})
	t.Run("the key of the boot before, as a new leader finds it: not seen since", func(t *testing.T) {
		t.Parallel()
		w := watch(t).instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(minute) }).at(2 * minute).observe(true)
		w.want(plan.Renewal{Present: true})
	})
	t.Run("the key of the boot before, while a new leader cannot list: not seen since", func(t *testing.T) {
		t.Parallel()
		w := watch(t).instance("i-1", func(i *lease.Instance) { i.LaunchTime = Noon.Add(minute) }).at(2 * minute)
		all := w.location.Instances
		w.location.Instances = nil
		w.observe(true)
		w.location.Instances = all
		w.lapses("i-1").at(3 * minute).observe(true).want(plan.Renewal{})
	})
	t.Run("not shown for a while: seen again as soon as it is", func(t *testing.T) {
		t.Parallel()
		w := watch(t).observe(true)
		all := w.location.Instances
		w.location.Instances = nil
		w.at(minute).observe(true)
		w.location.Instances = all
		w.at(2 * minute).observe(true).want(plan.Renewal{Present: true, Seen: true})
	})
}

func TestWitness(t *testing.T) {
	t.Parallel()
	const slack = 2 * time.Second
	lapsed := func(t *testing.T) *watcher {
		t.Helper()
		return watch(t).observe(true).at(minute).lapses("i-1").observe(false)
	}
	for _, c := range []struct {
		name    string
		happens func(*watcher)
		want    bool
	}{
		{"present a timeout and etcd's slack after the lapse: it renewed since", func(w *watcher) { w.at(2*minute + slack + 1).observe(true) }, true},
		{"present, but it may not have renewed since", func(w *watcher) { w.at(2*minute + slack).observe(true) }, false},
		{"present by a watch only, which may be late", func(w *watcher) { w.at(9 * minute).observe(false) }, false},
		{"a ghost", func(w *watcher) {
			w.state.Heartbeats["i-2"] = lease.Heartbeat{HeartbeatTimeout: lease.Duration(HeartbeatTimeout)}
			w.at(9 * minute).observe(true)
		}, false},
		{"a longer timeout proves a renewal later", func(w *watcher) {
			w.state.Heartbeats["i-2"] = lease.Heartbeat{HeartbeatTimeout: lease.Duration(time.Hour), Held: true}
			w.at(9 * minute).observe(true)
		}, false},
		{"a key without a timeout proves nothing", func(w *watcher) {
			w.state.Heartbeats["i-2"] = lease.Heartbeat{Held: true}
			w.at(9 * minute).observe(true)
		}, false},
		{"in another zone", func(w *watcher) {
			w.instance("i-2", func(i *lease.Instance) { i.ZoneID = "az-x" }).at(9 * minute).observe(true)
		}, false},
		{"its instance is not shown, so it may be anywhere", func(w *watcher) {
			w.location.Instances = w.location.Instances[:1]
			w.at(9 * minute).observe(true)
		}, false},
		{"its instance is stopped", func(w *watcher) {
			w.instance("i-2", func(i *lease.Instance) { i.State = lease.InstanceStopped }).at(9 * minute).observe(true)
		}, false},
		{"its instance is exempt", func(w *watcher) {
			w.instance("i-2", func(i *lease.Instance) { i.Tags[lease.TagExempt] = "" }).at(9 * minute).observe(true)
		}, false},
		{"its instance is not ours", func(w *watcher) {
			w.instance("i-2", func(i *lease.Instance) { i.Tags[lease.TagRegistry] = "another" }).at(9 * minute).observe(true)
		}, false},
		{"its lease is that of another instance", func(w *watcher) {
			w.instance("i-2", func(i *lease.Instance) { i.ClientToken = "other" }).at(9 * minute).observe(true)
		}, false},
		{"before etcd was ill", func(w *watcher) { w.at(9 * minute).observe(true).m.Restart(w.now) }, false},
		{"before a new raft term", func(w *watcher) {
			w.at(9 * minute).observe(true)
			w.state.Term++
			w.at(9*minute + time.Second).observe(true)
		}, false},
		{"a timeout after a new raft term", func(w *watcher) {
			w.state.Term++
			w.at(9 * minute).observe(true).at(10*minute + slack + 1).observe(true)
		}, true},
		{"before the judged one was stopped and started", func(w *watcher) {
			w.at(9 * minute).observe(true).turns(lease.InstanceStopped).at(10 * minute).observe(true)
			w.turns(lease.InstanceRunning).at(10*minute + time.Second).observe(true)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := lapsed(t)
			c.happens(w)
			if got := w.renewal("i-1"); got.Witness != c.want {
				t.Errorf("%+v, want witness %t", got, c.want)
			}
		})
	}
	t.Run("its own key is no witness", func(t *testing.T) {
		t.Parallel()
		w := lapsed(t).lapses("i-2").at(3 * minute).heartbeats("i-1").observe(true).at(20 * minute).observe(true).lapses("i-1").observe(true)
		if s := w.at(40 * minute).observe(true).renewal("i-1"); s.Witness {
			t.Errorf("%+v", s)
		}
	})
}

// TestALostHeartbeatTerminatesWithinTheMarkGrace follows one lost heartbeat from memory to decision.
func TestALostHeartbeatTerminatesWithinTheMarkGrace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		witness bool
		want    time.Duration // from the loss to the termination
	}{
		"beside one that renews": {true, 5*minute + time.Second}, // the second in which the leader sees its own notice
		"alone in its zone":      {false, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t).observe(true)
			if !c.witness {
				w.instance("i-2", func(i *lease.Instance) { i.ZoneID = "az-x" })
			}
			w.lapses("i-1")
			for passed := time.Second; passed < 2*time.Hour; passed += time.Second {
				v := WorldOf()
				w.at(passed).observe(passed%minute == 0)
				w.joined.Checkpoint, w.joined.Registry = v.Snapshot.Checkpoint, v.Snapshot.Registry
				planned := plan.Decide(plan.View{Now: w.now, Policy: v.Policy, Joined: w.joined, Locations: []plan.LocationView{w.location}, Leadership: v.Leadership})
				for _, mark := range planned.With(plan.ActMark) {
					w.lease("i-1", func(l *lease.Lease) { *l, _ = l.WithMark(w.now, mark.Cause, mark.Deadline, Jan) })
				}
				if len(planned.Ends()) > 0 {
					if passed != time.Second+c.want {
						t.Errorf("ended after %s, want %s", passed-time.Second, c.want)
					}
					return
				}
			}
			t.Error("it never ended")
		})
	}
}

// TestANoticeCountsFromWhenTheLeaderSawIt: its dates are of the clock that wrote it, which may have been wrong.
func TestANoticeCountsFromWhenTheLeaderSawIt(t *testing.T) {
	t.Parallel()
	mark := func(since time.Time) func(*lease.Lease) {
		return func(l *lease.Lease) {
			l.Mark = &lease.Mark{Cause: lease.CauseHeartbeatLost, Since: since, Deadline: since.Add(5 * minute)}
		}
	}
	w := watch(t).lapses("i-1").observe(true).at(10*minute).lease("i-1", mark(Ago(Long))).observe(true)
	for _, passed := range []time.Duration{10 * minute, 12 * minute} {
		want := passed - 10*minute
		if s := w.at(passed).observe(true).renewal("i-1"); s.Marked != want {
			t.Errorf("noticed for %s at %s, want %s", s.Marked, passed, want)
		}
	}
	if s := w.at(13*minute).lease("i-1", mark(Ago(0))).observe(true).renewal("i-1"); s.Marked != 0 {
		t.Errorf("another notice has lasted %s", s.Marked)
	}
	if s := w.at(14*minute).lease("i-1", func(l *lease.Lease) { l.Mark = nil }).observe(true).renewal("i-1"); s.Marked != 0 {
		t.Errorf("no notice has lasted %s", s.Marked)
	}
}

// TestAHeartbeatBetweenTwoDecisionsIsSeen: the watch told of it, and no decision saw it.
func TestAHeartbeatBetweenTwoDecisionsIsSeen(t *testing.T) {
	t.Parallel()
	w := watch(t).lapses("i-1").observe(true).at(10 * minute).observe(true)
	w.at(14 * minute)
	w.m.Appear(w.now, lease.Heartbeat{InstanceID: "i-1", HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Held: true, Since: w.now})
	if s := w.at(15 * minute).observe(true).renewal("i-1"); s.Present || s.For != 0 || !s.Seen {
		t.Errorf("%+v; want a loss that begins again", s)
	}
	w.m.Appear(w.now, lease.Heartbeat{InstanceID: "i-1", HeartbeatTimeout: lease.Duration(HeartbeatTimeout), Since: w.now})
	if s := w.at(18 * minute).observe(true).renewal("i-1"); s.For != 3*minute {
		t.Errorf("%+v; a ghost counted as a heartbeat", s)
	}
}
