package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// drawLeftovers strews what the launches of a world may have left, and what only looks like it.
func drawLeftovers(t *rapid.T, v *World) {
	v.Policy.DeleteKeptVolumes = OneIn(t, 4, "flag")
	v.Policy.Retention = Pick(t, "retention", Long, Long, 30*time.Minute)
	for n := range v.Snapshot.Launches {
		l := &v.Snapshot.Launches[n]
		at := slices.IndexFunc(v.Locations, func(p plan.LocationView) bool { return p.Location == l.Location() })
		p := &v.Locations[at]
		if !OneIn(t, 6, "not sought") {
			p.Sought = append(p.Sought, l.Token)
		}
		for k := range Pick(t, "leftovers", 1, 2, 0) {
			x := drawLeftover(t, *l, fmt.Sprintf("x-%d%d", n, k))
			if !OneIn(t, 4, "no sighting") {
				l.FirstSeen[x.ID] = Ago(span(t))
			}
			p.Leftovers = append(p.Leftovers, x)
		}
	}
}

func drawLeftover(t *rapid.T, l lease.Launch, id string) lease.Leftover {
	x := remains(Pick(t, "kind", lease.LeftoverVolume, lease.LeftoverInterface, lease.LeftoverSpot))
	x.ID, x.Location = id, l.Location()
	x.Tags[lease.TagLaunch] = l.Attempts[rapid.IntRange(0, len(l.Attempts)-1).Draw(t, "attempt")].ClientToken
	instance := fmt.Sprintf("i-%02d", rapid.IntRange(0, 20).Draw(t, "instance"))
	switch Pick(t, "leftover", 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9) {
	case 1:
		x.Tags[lease.TagExempt] = ""
	case 2:
		x.Tags[lease.TagRegistry] = "another"
	case 3:
		x.Tags[lease.TagLaunch] = Pick(t, "tag", "launch-0.1", "launch-9.1", "")
	case 4:
		x.Attached, x.InstanceID = true, instance
	case 5:
		x.InstanceID = instance
	case 6:
		x.State = Pick(t, "state", "creating", "error", "deleting", "closed", "disabled", "")
	case 7:
		x.CreatedAt = Pick(t, "created", time.Time{}, date(t))
	case 8:
		x.Service = true
	case 9:
		x.Location = Pick(t, "location", Here, There)
	}
	return x
}

// TestNothingIsRemovedWithoutAPositiveRecord holds every removal against the rules, written down a second time.
func TestNothingIsRemovedWithoutAPositiveRecord(t *testing.T) {
	t.Parallel()
	removed := 0
	worlds(t, func(t *rapid.T, v World) {
		for _, verdict := range Decide(v).With(plan.ActRemove) {
			removed++
			if why := objectionToRemoval(v, *verdict.Leftover); why != "" {
				t.Fatalf("%s %s (%s): %s", verdict.Leftover.Kind, verdict.Leftover.ID, verdict.Reason, why)
			}
		}
	})
	if removed == 0 {
		t.Error("nothing was ever removed")
	}
}

func objectionToRemoval(v World, x lease.Leftover) string {
	at := slices.IndexFunc(v.Snapshot.Launches, func(l lease.Launch) bool {
		return slices.ContainsFunc(l.Attempts, func(a lease.Attempt) bool { return a.ClientToken == x.Tags[lease.TagLaunch] })
	})
	if at < 0 {
		return "no launch is known by its tag"
	}
	l := v.Snapshot.Launches[at]
	p := v.Locations[slices.IndexFunc(v.Locations, func(p plan.LocationView) bool { return p.Location == x.Location })]
	_, exempt := x.Tags[lease.TagExempt]
	first, seen := l.FirstSeen[x.ID]
	end := l.LastSend().Add(time.Duration(l.Window))
	switch {
	case l.State != lease.LaunchClosed || l.Region != x.Location.Region || l.Account != x.Location.Account:
		return "its launch is not closed, or of another location"
	case x.Tags[lease.TagRegistry] != Ours || exempt || x.Service:
		return "not ours, exempt, or a service's"
	case p.Err != "" || !p.Dated || p.Skew.Abs() > v.Policy.MaxSkew:
		return "the location is in trouble"
	case v.Now.Before(end):
		return "the window is not over"
	case !seen || v.Now.Sub(first) < v.Policy.OrphanGrace:
		return "not seen twice"
	case slices.ContainsFunc(Decide(v).Brakes, func(b lease.Brake) bool { return b.Scope == "" && b.Standing() }):
		return "a brake holds everything back"
	case x.Kind != lease.LeftoverInterface && (x.CreatedAt.Before(l.CreatedAt.Add(-lease.MaxSkew)) || x.CreatedAt.After(end.Add(lease.MaxSkew))):
		return "not made while its launch could make it"
	case x.Kind == lease.LeftoverSpot:
		return objectionToCancel(v, x)
	case x.State != "available" || x.Attached:
		return "in use"
	}
	return objectionToDelete(v, l, x)
}

// objectionToCancel says why a spot request may not be cancelled: because a lease once held for what it made.
func objectionToCancel(v World, x lease.Leftover) string {
	for _, l := range v.Snapshot.Leases {
		if l.InstanceID == x.InstanceID && l.Cause != lease.CauseFailedCreation {
			return "its instance has a lease"
		}
	}
	if x.State != "open" && x.State != "active" {
		return "it makes no instances"
	}
	return ""
}

// objectionToDelete says why a volume or an interface may be wanted.
func objectionToDelete(v World, l lease.Launch, x lease.Leftover) string {
	recorded := map[string]bool{}
	held, live := "", false
	for _, other := range v.Snapshot.Leases {
		recorded[other.InstanceID] = true
		if other.Launch == l.Token && other.Cause != lease.CauseFailedCreation {
			held = other.InstanceID
			live = live || other.State != lease.StateEnded
		}
	}
	unread := slices.ContainsFunc(v.Snapshot.Bad, func(b lease.BadRecord) bool { return b.Kind == plan.BadLease })
	missing := slices.ContainsFunc(l.Instances(), func(id string) bool { return !recorded[id] })
	switch {
	case unread:
		return "a lease cannot be read"
	case x.Kind == lease.LeftoverVolume && v.Policy.DeleteKeptVolumes && !live:
		return ""
	case held != "":
		return "a lease of the launch was active once, of " + held
	case missing:
		return "of an instance that EC2 answered with there is no record"
	case v.Now.Sub(l.CreatedAt) >= v.Policy.Retention:
		return "records may be gone"
	}
	return ""
}
