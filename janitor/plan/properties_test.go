package plan_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// TestNothingIsTerminatedWithoutAPositiveRecord holds every end against the rules, written down a second time and without any
// thought of speed.
func TestNothingIsTerminatedWithoutAPositiveRecord(t *testing.T) {
	t.Parallel()
	worlds(t, func(t *rapid.T, v World) {
		for _, verdict := range Decide(v).Ends() {
			if why := objection(v, verdict); why != "" {
				t.Fatalf("%s %s (%s): %s", verdict.Action, verdict.InstanceID, verdict.Reason, why)
			}
		}
	})
}

// objection says why an instance may not be ended, or is empty.
func objection(v World, verdict plan.Verdict) string {
	p := v.Locations[slices.IndexFunc(v.Locations, func(p plan.LocationView) bool { return p.Location == verdict.Location })]
	i := SeenIn(p, verdict.InstanceID)
	ahead := func(l lease.Lease) bool {
		hb := v.Snapshot.Heartbeats[l.InstanceID]
		return hb.Held && hb.Changes > l.Changes
	}
	switch {
	case len(v.Standing) > 0:
		return "everything is held back until a person has checked"
	case verdict.Lease != nil && (i == nil || i.Expiry().Newer(verdict.Lease.Expiry()) && i.Expiry().Number > 0):
		return "its tag is not known, or is newer than its record"
	case verdict.Cause == lease.CauseExpired && !i.Expiry().Passed(v.Now, v.Policy.TermGrace):
		return "its tag has not passed"
	case verdict.Lease != nil && ahead(*verdict.Lease) && (!verdict.Lease.Over(v.Now, v.Policy.TermGrace) || !i.Expiry().Passed(v.Now, v.Policy.TermGrace)):
		return "its sidecar has seen a later state of its lease, and its date has not passed"
	case len(v.Snapshot.Heartbeats) < 40 && len(slices.DeleteFunc(slices.Clone(v.Snapshot.Leases), func(l lease.Lease) bool { return !ahead(l) })) > 2:
		return "three sidecars have seen later states of their leases"
	case !p.Dated || p.Skew.Abs() > v.Policy.MaxSkew:
		if verdict.Lease == nil || verdict.Cause == lease.CauseExpired || verdict.Lease.State == lease.StateRevoked {
			return "the clock is not checked"
		}
	case slices.ContainsFunc(v.Snapshot.Bad, func(b lease.BadRecord) bool { return b.Kind == plan.BadLease && b.ID == verdict.InstanceID }):
		return "its record cannot be read"
	case i == nil && (verdict.Lease == nil || !p.Absent[verdict.InstanceID] || verdict.Cause != lease.CauseExpired):
		return "it was not seen"
	}
	if i != nil && (i.Tags[lease.TagRegistry] != Ours || i.Exempt() || i.State == lease.InstanceTerminated || i.State == lease.InstanceShuttingDown) {
		return "not ours, exempt, or ended already"
	}
	if verdict.Lease == nil {
		return objectionToOrphan(v, p, i, *verdict.Launch)
	}
	l := *verdict.Lease
	switch {
	case i != nil && l.ClientToken != "" && (i.ClientToken != l.ClientToken || i.Tags[lease.TagLaunch] != l.ClientToken):
		return "not the instance that is bound"
	case l.State == lease.StateRevoked:
		return ""
	case l.State != lease.StateActive:
		return "its lease is " + string(l.State)
	case verdict.Cause == lease.CauseExpired:
		return objectionToTerm(v, p, l)
	}
	return objectionToLoss(v, p, *i, l)
}

func objectionToOrphan(v World, p plan.LocationView, i *lease.Instance, launch lease.Launch) string {
	look, seen := launch.FirstSeen[i.ID]
	switch {
	case launch.State != lease.LaunchClosed || launch.Location() != p.Location:
		return "its launch is not closed, or of another location"
	case i.ClientToken != i.Tags[lease.TagLaunch] || !slices.ContainsFunc(launch.Attempts, func(a lease.Attempt) bool { return a.ClientToken == i.ClientToken }):
		return "not a member of the launch"
	case !seen || look.Add(v.Policy.OrphanGrace).After(v.Now) || p.Err != "":
		return "not seen twice"
	case slices.ContainsFunc(v.Snapshot.Leases, func(l lease.Lease) bool { return l.InstanceID == i.ID }):
		return "it has a lease"
	}
	return ""
}

func objectionToTerm(v World, p plan.LocationView, l lease.Lease) string {
	expired := l.ExpiresAt.Add(v.Policy.TermGrace)
	if l.ExpiresAt.IsZero() || expired.After(v.Now) {
		return "its lease has not expired"
	}
	if l.Mark != nil && l.Mark.Cause == lease.CauseExpired {
		if l.Mark.Deadline.After(v.Now) {
			return "its notice is not over"
		}
		return ""
	}
	since, enforcing := v.Snapshot.Checkpoint.Enforcing[p.Location.String()]
	switch reg := v.Snapshot.Registry; {
	case reg.Mode != lease.ModeArmed:
		return "nothing is being terminated here"
	case expired.Equal(v.Now):
		return "" // whoever acts from now on acts in time
	case !enforcing || !v.Snapshot.Checkpoint.Fresh(v.Now) || since.Before(reg.ModeSince):
		return "nothing was being terminated here"
	case expired.Before(since):
		return "nothing was being terminated here when its lease expired"
	}
	return ""
}

func objectionToLoss(v World, p plan.LocationView, i lease.Instance, l lease.Lease) string {
	s, wait, grace := v.Renewals[l.InstanceID], time.Duration(0), v.Policy.MarkGrace
	if !s.Seen {
		wait = time.Duration(l.HeartbeatTimeout)
	}
	if !s.Witness {
		grace = v.Policy.LoneGrace
	}
	switch {
	case !l.ExpiresAt.IsZero() && !v.Now.Before(l.ExpiresAt.Add(v.Policy.TermGrace)):
		return "its expiry is what decides"
	case l.HeartbeatTimeout <= 0 || s.Present || i.State != lease.InstanceRunning || v.Policy.SkipHeartbeats || booting(v, l, s):
		return "it is not to be judged by its heartbeat"
	case l.Mark == nil || !l.Mark.Cause.Inferred() || l.Mark.Deadline.After(v.Now) || s.For < wait+grace || s.Marked < v.Policy.MarkGrace:
		return "its notice or its grace is not over"
	case p.Err != "" || v.Leadership.Unhealthy != "" || !v.Leadership.Checkpointed:
		return "something is ill"
	case slices.ContainsFunc(v.Snapshot.Bad, func(b lease.BadRecord) bool { return b.ID == l.InstanceID }):
		return "its heartbeat cannot be read"
	case tooManyLost(v, l, func(lease.Instance) bool { return true }):
		return "too many of the registry are lost"
	case tooManyLost(v, l, func(other lease.Instance) bool { return other.ZoneKey() == i.ZoneKey() }):
		return "too many of its zone are lost"
	}
	return ""
}

// booting reports whether an instance is too young to be judged for having no heartbeat.
func booting(v World, l lease.Lease, s plan.Renewal) bool {
	young := v.Now.Sub(l.GrantedAt) < v.Policy.BootGrace || s.Started > 0 && s.Started < v.Policy.BootGrace
	for _, p := range v.Locations {
		if i := SeenIn(p, l.InstanceID); i != nil && v.Now.Sub(i.LaunchTime) < v.Policy.BootGrace {
			young = true
		}
	}
	return young && !s.Seen
}

// tooManyLost counts as §7 has it, over running leases and recent revocations. The brake also counts doubtful
// heartbeats, so it may hold more back.
func tooManyLost(v World, judged lease.Lease, scope func(lease.Instance) bool) bool {
	lost, all := 0, 0
	for _, l := range v.Snapshot.Leases {
		if l.HeartbeatTimeout <= 0 || l.HeartbeatTimeout > judged.HeartbeatTimeout {
			continue
		}
		if l.Cause.Inferred() && v.Now.Sub(l.RevokedAt) < time.Hour && scope(lease.Instance{ZoneID: l.ZoneID}) {
			lost, all = lost+1, all+1
		}
		for _, p := range v.Locations {
			i := SeenIn(p, l.InstanceID)
			if i == nil || i.State != lease.InstanceRunning || l.State != lease.StateActive || !scope(*i) {
				continue
			}
			s := v.Renewals[l.InstanceID]
			switch {
			case s.Present:
				all++
			case !booting(v, l, s):
				lost, all = lost+1, all+1
			}
		}
	}
	return lost > max(v.Policy.LostMin, int(v.Policy.LostShare*float64(all)))
}

func TestThePlanIsTheSameForShuffledInput(t *testing.T) {
	t.Parallel()
	worlds(t, func(t *rapid.T, v World) {
		w := Copied(v)
		s := &w.Snapshot
		s.Leases, s.Launches = rapid.Permutation(s.Leases).Draw(t, "leases"), rapid.Permutation(s.Launches).Draw(t, "launches")
		s.Bad, s.Checkpoint.Leaderships = rapid.Permutation(s.Bad).Draw(t, "bad"), rapid.Permutation(s.Checkpoint.Leaderships).Draw(t, "offices")
		w.Locations = rapid.Permutation(w.Locations).Draw(t, "locations")
		for n := range w.Locations {
			w.Locations[n].Instances = rapid.Permutation(w.Locations[n].Instances).Draw(t, "instances")
			w.Locations[n].Leftovers = rapid.Permutation(w.Locations[n].Leftovers).Draw(t, "leftovers")
			w.Locations[n].Sought = rapid.Permutation(w.Locations[n].Sought).Draw(t, "sought")
		}
		if one, two := Decide(v), Decide(w); !reflect.DeepEqual(one, two) {
			t.Fatalf("one way:\n%s\nthe other way:\n%s", Summary(one), Summary(two))
		}
	})
}

func TestEveryInstanceAndLeaseIsExplained(t *testing.T) {
	t.Parallel()
	worlds(t, func(t *rapid.T, v World) {
		before := Copied(v)
		planned := Decide(v)
		if !reflect.DeepEqual(v, before) {
			t.Fatal("the decision altered what it was made from")
		}
		if !planned.Next.IsZero() && !planned.Next.After(v.Now) {
			t.Fatalf("next at %s, which is over", planned.Next)
		}
		explained := map[string]bool{}
		for _, verdict := range planned.Verdicts {
			explained[verdict.InstanceID] = true
			switch held := verdict.Action == plan.ActHold; {
			case verdict.Reason == "":
				t.Fatalf("no reason to %s %s", verdict.Action, verdict.InstanceID)
			case held != (verdict.Brake != ""):
				t.Fatalf("%s %s by brake %q", verdict.Action, verdict.InstanceID, verdict.Brake)
			case held && planned.Behind[verdict.InstanceID] == 0 && !slices.ContainsFunc(planned.Brakes, func(b lease.Brake) bool { return b.Name == verdict.Brake }):
				t.Fatalf("brake %s holds %s and is not shown", verdict.Brake, verdict.InstanceID)
			case (verdict.Action == plan.ActMark) != (!verdict.Deadline.IsZero()):
				t.Fatalf("%s %s until %s", verdict.Action, verdict.InstanceID, verdict.Deadline)
			}
		}
		for _, l := range v.Snapshot.Leases {
			if !explained[l.InstanceID] {
				t.Fatalf("nothing is said of the lease of %s", l.InstanceID)
			}
		}
		for _, p := range v.Locations {
			for _, i := range p.Instances {
				if !explained[i.ID] {
					t.Fatalf("nothing is said of %s", i.ID)
				}
			}
		}
	})
}
