package janitor

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// timeline is a world that time passes in: what is, what can be seen of it, what its leader remembers, and what its actor
// has written. EC2 does what it is asked, and the registry refuses nothing.
type timeline struct {
	t     *rapid.T
	view  World // all that is
	mem   *observe.Renewals
	doubt map[string]map[string]bool // what of it is not seen just now, by instance id: hidden, absent, lease or heartbeat

	plan  plan.Plan       // the last one
	turns []time.Time     // at the rate, taken so far
	short bool            // the rate has held something back
	first map[string]bool // ids from the beginning
}

func begin(t *rapid.T, v World) *timeline {
	w := &timeline{
		t: t, view: v, mem: observe.NewRenewals(), doubt: map[string]map[string]bool{}, first: map[string]bool{},
	}
	for _, l := range v.Snapshot.Leases {
		w.first[l.InstanceID] = true
	}
	for _, p := range v.Locations {
		for _, i := range p.Instances {
			w.first[i.ID] = true
		}
	}
	return w
}

// copied is the same world, which goes its own way from here on.
func (w *timeline) copied() *timeline { return begin(w.t, Copied(w.view)) }

func (w *timeline) lease(id string) *lease.Lease {
	for n := range w.view.Snapshot.Leases {
		if l := &w.view.Snapshot.Leases[n]; l.InstanceID == id {
			return l
		}
	}
	return nil
}

func (w *timeline) instance(id string) *lease.Instance {
	for n := range w.view.Locations {
		if i := SeenIn(w.view.Locations[n], id); i != nil {
			return i
		}
	}
	return nil
}

// alive reports whether nobody has asked for the end of an instance.
func (w *timeline) alive(id string) bool {
	i := w.instance(id)
	return i != nil && i.Alive()
}

// doubts sets or clears what is not seen of an instance.
func (w *timeline) doubts(id, what string, yes bool) {
	if w.doubt[id] == nil {
		w.doubt[id] = map[string]bool{}
	}
	w.doubt[id][what] = yes
}

// seen is what can be seen of the world.
func (w *timeline) seen() World {
	v := Copied(w.view)
	s := &v.Snapshot
	s.Leases = slices.DeleteFunc(s.Leases, func(l lease.Lease) bool { return w.doubt[l.InstanceID][plan.BadLease] })
	for n := range v.Locations {
		p := &v.Locations[n]
		p.Instances = slices.DeleteFunc(p.Instances, func(i lease.Instance) bool {
			l := w.lease(i.ID)
			lookedUp := l != nil && (l.State == lease.StateRevoked || l.Over(v.Now, 0))
			return w.doubt[i.ID]["hidden"] || w.doubt[i.ID]["absent"] || !p.Listed() && !lookedUp
		})
	}
	for _, id := range slices.Sorted(maps.Keys(w.doubt)) {
		if w.doubt[id]["absent"] {
			v.Locations[0].Absent[id] = true
		}
		if w.doubt[id][plan.BadLease] {
			Bad(plan.BadLease, id)(&v)
		}
		if w.doubt[id][plan.BadHeartbeat] {
			Bad(plan.BadHeartbeat, id)(&v)
			delete(s.Heartbeats, id)
		}
	}
	return v
}

// decides observes, decides, and lets the plan be carried out and recorded.
func (w *timeline) decides(fresh bool) {
	v := w.seen()
	var read time.Time
	if fresh {
		read = v.Now
	}
	joined := v.View()
	w.mem.Observe(v.Now, read, joined.Joined)
	w.plan = plan.Decide(joined)
	w.mem.Held(v.Now, w.plan.Verdicts)
	w.charge()
	for _, verdict := range w.plan.Verdicts {
		w.carryOut(verdict)
	}
	s := &w.view.Snapshot.Checkpoint
	s.Sequence, s.Time, s.Enforcing, s.Brakes, s.Standing = s.Sequence+1, v.Now, w.plan.Enforcing, w.plan.Brakes, plan.Standing(w.plan.Brakes)
	w.view.Standing, w.view.Leadership.Checkpointed = s.Standing, true
}

// charge counts the turns at the rate that a plan takes, and fails if those are too many.
func (w *timeline) charge() {
	v, paid, taken := &w.view, map[string]bool{}, len(w.turns)
	for _, l := range v.Snapshot.Leases {
		if l.Cause == lease.CauseFailedCreation && v.Now.Sub(l.RevokedAt).Abs() < v.Policy.RateWindow {
			paid[l.Launch] = true
		}
	}
	for _, verdict := range w.plan.Verdicts {
		w.short = w.short || verdict.Brake == plan.BrakeRate
		orphan := verdict.Action == plan.ActOrphan && !paid[verdict.Token]
		if orphan || verdict.Action == plan.ActTerminate && verdict.Cause.Inferred() && verdict.Lease.State == lease.StateActive {
			paid[verdict.Token] = true
			w.turns = append(w.turns, v.Now)
		}
	}
	w.turns = slices.DeleteFunc(w.turns, func(at time.Time) bool { return v.Now.Sub(at) >= v.Policy.RateWindow })
	allowed := max(v.Policy.RateMin, int(v.Policy.RateShare*float64(len(v.Snapshot.Leases))))
	if len(w.turns) > max(taken, allowed) {
		w.t.Fatalf("%d terminations for inferred causes within %s, more than %d", len(w.turns), v.Policy.RateWindow, allowed)
	}
}

func (w *timeline) carryOut(v plan.Verdict) {
	now, s := w.view.Now, &w.view.Snapshot
	must := func(err error) {
		if err != nil {
			w.t.Fatalf("%s %s%s: %v", v.Action, v.InstanceID, v.Token, err)
		}
	}
	switch v.Action {
	case plan.ActMark, plan.ActUnmark, plan.ActStuck, plan.ActNoteAbsent, plan.ActNoteSeen, plan.ActEnd, plan.ActReopen, plan.ActActivate:
		changed, err := enforce.Changed(v, now, Jan)
		must(err)
		*w.lease(v.InstanceID) = changed
	case plan.ActTerminate:
		l := w.lease(v.InstanceID)
		var err error
		if l.State == lease.StateActive {
			*l, err = l.Revoke(now, v.Cause, Jan)
			must(err)
		}
		*l, err = l.Try(now)
		must(err)
		if v.Instance != nil { // of one that EC2 does not know, the lease alone ends
			w.terminate(v.InstanceID)
		}
	case plan.ActOrphan:
		attempt, _ := v.Launch.Member(*v.Instance)
		s.Leases = append(s.Leases, v.Launch.Orphan(now, *v.Instance, attempt, Jan))
		w.terminate(v.InstanceID)
	case plan.ActFirstSeen, plan.ActComplete, plan.ActClose:
		n := slices.IndexFunc(s.Launches, func(l lease.Launch) bool { return l.Token == v.Token })
		l, err := s.Launches[n], error(nil)
		switch v.Action {
		case plan.ActFirstSeen:
			l, err = l.NoteFirstSeen(now, v.InstanceID)
		case plan.ActComplete:
			l, err = l.Done(now)
		default:
			l, err = l.Close(now, v.Reason)
		}
		must(err)
		s.Launches[n] = l
	}
}

func (w *timeline) terminate(id string) {
	w.instance(id).State = lease.InstanceShuttingDown
	delete(w.view.Snapshot.Heartbeats, id)
}

// passes lets time pass: EC2 goes on with what it was asked for.
func (w *timeline) passes(d time.Duration) {
	w.view.Now = w.view.Now.Add(d)
	for n := range w.view.Locations {
		for k := range w.view.Locations[n].Instances {
			if i := &w.view.Locations[n].Instances[k]; i.State == lease.InstanceShuttingDown {
				i.State = lease.InstanceTerminated
			}
		}
	}
}
