package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// remains is something that a launch may have left an hour ago: not attached, with our tags, created when the launch
// was sent.
func remains(kind lease.LeftoverKind, changes ...func(*lease.Leftover)) lease.Leftover {
	x := lease.Leftover{
		Kind: kind, ID: "x-1", Location: Here, State: "available", CreatedAt: Ago(time.Hour),
		Tags: map[string]string{lease.TagRegistry: Ours, lease.TagLaunch: "web.1"},
	}
	switch kind {
	case lease.LeftoverSpot:
		x.State = "open"
	case lease.LeftoverInterface:
		x.CreatedAt = time.Time{}
	case lease.LeftoverVolume:
	}
	for _, change := range changes {
		change(&x)
	}
	return x
}

// remainsBy is a world in which launch web was closed and looked for, and left these, seen an hour ago for the first
// time.
func remainsBy(left ...lease.Leftover) World {
	v := WorldOf()
	Launches(Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "x-1")))(&v)
	v.Locations[0].Sought, v.Locations[0].Leftovers = []string{"web"}, left
	return v
}

// notAnew keeps an older listing of an empty location, from which nothing is concluded.
func notAnew(v *World) { v.Locations[0].Kept = true }

func inState(state string) func(*lease.Leftover) {
	return func(x *lease.Leftover) { x.State = state }
}

func fulfilledBy(id string) func(*lease.Leftover) {
	return func(x *lease.Leftover) { x.State, x.InstanceID = "active", id }
}

// ofWeb is an instance of launch web, with a lease unless a change says otherwise.
func ofWeb(id string, changes ...func(*Subject)) func(*World) {
	return func(v *World) {
		s := Holds(id)
		s.Lease.Launch, s.Lease.ClientToken = "web", "web.1"
		s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = "web.1", "web.1"
		for _, change := range changes {
			change(&s)
		}
		Add(v, s)
	}
}

// orphanEnded is the lease of an instance that a failed creation left and that has ended: it never held.
func orphanEnded(d time.Duration) func(*Subject) {
	return func(s *Subject) {
		Revoked(lease.CauseFailedCreation, d)(s)
		Ended(d)(s)
		s.Instance = nil
	}
}

func webIs(change func(*lease.Launch)) func(*World) {
	return func(v *World) { change(&v.Snapshot.Launches[0]) }
}

func withFlag(v *World) { v.Policy.DeleteKeptVolumes = true }

type leftoverCase struct {
	name     string
	leftover lease.Leftover
	world    []func(*World)
	want     Ruling
}

func checkLeftovers(t *testing.T, cases []leftoverCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := remainsBy(c.leftover)
			for _, change := range c.world {
				change(&v)
			}
			if got := leftoverRuling(t, v, "x-1"); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// leftoverRuling is the only ruling on a leftover.
func leftoverRuling(t *testing.T, v World, id string) Ruling {
	t.Helper()
	var found []plan.Verdict
	for _, verdict := range Decide(v).Verdicts {
		if verdict.LeftoverID() == id {
			found = append(found, verdict)
		}
	}
	if len(found) != 1 || found[0].Reason == "" {
		t.Fatalf("verdicts on %s: %+v", id, found)
	}
	return Ruling{Action: found[0].Action, Brake: found[0].Brake}
}

var (
	remove   = Ruling{Action: plan.ActRemove}
	lookAt   = Ruling{Action: plan.ActFirstSeen}
	volume   = lease.LeftoverVolume
	spot     = lease.LeftoverSpot
	netIface = lease.LeftoverInterface
)

func TestLeftoversOfEachKind(t *testing.T) {
	t.Parallel()
	for _, kind := range []lease.LeftoverKind{volume, spot, netIface} {
		checkLeftovers(t, []leftoverCase{
			{"loose, seen twice: removed " + string(kind), remains(kind), nil, remove},
			{"not seen yet: first sighting " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.FirstSeen = nil })), lookAt},
			{"seen on a date that no right clock gave: noted again " + string(kind), remains(kind), with(webIs(FirstSeen(-11*time.Second, "x-1"))), lookAt},
			{"second sighting too soon " + string(kind), remains(kind), with(webIs(FirstSeen(time.Minute-1, "x-1"))), keep},
			{"exempt " + string(kind), remains(kind, Tagged(lease.TagExempt, "")), nil, report},
			{"another registry's " + string(kind), remains(kind, Tagged(lease.TagRegistry, "another")), nil, report},
			{"no registry's tag " + string(kind), remains(kind, Untagged(lease.TagRegistry)), nil, report},
			{"tag of a launch that is not known " + string(kind), remains(kind, Tagged(lease.TagLaunch, "other.1")), nil, report},
			{"tag of an attempt that was not made " + string(kind), remains(kind, Tagged(lease.TagLaunch, "web.2")), nil, report},
			{"tag of a launch that is open " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.State = lease.LaunchOpen })), report},
			{"tag of a launch that is done " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.State = lease.LaunchDone })), report},
			{"tag of a launch of another region " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.Region = There.Region })), report},
			{"an AWS service's " + string(kind), remains(kind, func(x *lease.Leftover) { x.Service = true }), nil, report},
			{"named by the request " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.Request = []byte(`{"Id":"x-1"}`) })), report},
			{"window not over " + string(kind), remains(kind), with(webIs(func(l *lease.Launch) { l.Window = lease.Duration(2 * time.Hour) })), keep},
			{"clock wrong " + string(kind), remains(kind), with(Skewed(11 * time.Second)), byClock},
			{"no Date from EC2 " + string(kind), remains(kind), with(Undated), byClock},
			{"instances not listed " + string(kind), remains(kind), with(Unlisted), Ruling{Action: plan.ActHold, Brake: plan.BrakeHealth}},
			{"its location not listed again " + string(kind), remains(kind), with(notAnew), keep},
			{"in a state of which nothing is known " + string(kind), remains(kind, inState("novel")), nil, report},
			{"going already " + string(kind), remains(kind, inState("deleting")), nil, keep},
		})
	}
}

// resumed is a person's word of that time about a brake on everything.
func resumed(name string, at time.Time) func(*World) {
	return func(v *World) {
		v.Snapshot.Registry.Resumed = []lease.Resumption{{Brake: lease.Brake{Name: name}, At: at}}
	}
}

func TestLooseVolumesAndInterfaces(t *testing.T) {
	t.Parallel()
	for _, kind := range []lease.LeftoverKind{volume, netIface} {
		checkLeftovers(t, []leftoverCase{
			{"attached to somebody's instance " + string(kind), remains(kind, AttachedTo("i-other")), nil, keep},
			{"attached to something without a name " + string(kind), remains(kind, AttachedTo("")), nil, keep},
			{"said to be available, with an attachment " + string(kind), remains(kind, AttachedTo("i-other"), inState("available")), nil, keep},
			{"still attached to an orphan that has ended " + string(kind), remains(kind, AttachedTo("i-1")), with(ofWeb("i-1", orphanEnded(time.Minute))), keep},
			{"of orphans that have ended " + string(kind), remains(kind), with(ofWeb("i-1", orphanEnded(time.Minute)), ofWeb("i-2", orphanEnded(time.Hour))), remove},
			{"a lease of the launch is valid " + string(kind), remains(kind), with(ofWeb("i-1")), report},
			{"a lease of the launch was active once " + string(kind), remains(kind), with(ofWeb("i-1", Ended(time.Minute), Missing)), report},
			{"a lease of the launch was taken away " + string(kind), remains(kind), with(ofWeb("i-1", Revoked(lease.CauseExpired, time.Minute))), report},
			{"an instance of the launch was let go " + string(kind), remains(kind), with(ofWeb("i-1", WithLease(func(l *lease.Lease) { l.State = lease.StateUnmanaged }))), report},
			{"an instance of the launch was adopted " + string(kind), remains(kind), with(ofWeb("i-1", WithLease(func(l *lease.Lease) { l.Launch, l.ClientToken, l.Bore = "", "", "web.1" }))), report},
			{"an instance of which no record tells " + string(kind), remains(kind), with(webIs(Answered("i-1"))), report},
			{"a lease cannot be read " + string(kind), remains(kind), with(Bad(plan.BadLease, "i-9")), report},
			{"so old that leases of it may be forgotten " + string(kind), remains(kind), with(func(v *World) { v.Policy.Retention = time.Hour }), report},
			{"launched before the registry was set back " + string(kind), remains(kind), with(resumed(lease.BrakeRollback, Ago(time.Minute))), report},
			{"launched after it " + string(kind), remains(kind), with(resumed(lease.BrakeRollback, Ago(2*time.Hour))), remove},
			{"too many heartbeats were lost in between " + string(kind), remains(kind), with(resumed(lease.BrakeHeartbeats, Ago(time.Minute))), remove},
			{"being made " + string(kind), remains(kind, inState("creating")), nil, keep},
		})
	}
}

func TestVolumesByDateAndByFlag(t *testing.T) {
	t.Parallel()
	held := ofWeb("i-1", Ended(time.Minute), Missing)
	checkLeftovers(t, []leftoverCase{
		{"made before the launch: the tag was copied", remains(volume, MadeAt(Ago(time.Hour+11*time.Second))), nil, report},
		{"made at the launch, by a clock that is a little off", remains(volume, MadeAt(Ago(time.Hour+10*time.Second))), nil, remove},
		{"made at the end of the window", remains(volume, MadeAt(Ago(45*time.Minute))), nil, remove},
		{"made after the window: the tag was copied", remains(volume, MadeAt(Ago(45*time.Minute-11*time.Second))), nil, report},
		{"made at a time that EC2 does not tell", remains(volume, MadeAt(time.Time{})), nil, report},
		{"noted as outliving an orphan, beside a lease that was active", remains(volume), with(held, ofWeb("i-2", orphanEnded(time.Minute), WithLease(func(l *lease.Lease) { l.Outlive = []string{"x-1"} }))), report},
		{"flag: a lease was active once", remains(volume), with(held, withFlag), remove},
		{"flag: a lease is still valid", remains(volume), with(ofWeb("i-2"), withFlag), report},
		{"flag: a lease cannot be read", remains(volume), with(held, withFlag, Bad(plan.BadLease, "i-9")), report},
		{"flag: made before the launch", remains(volume, MadeAt(Ago(2*time.Hour))), with(held, withFlag), report},
		{"flag: attached", remains(volume, AttachedTo("i-1")), with(held, withFlag), keep},
		{"flag: an interface is not a volume", remains(netIface), with(held, withFlag), report},
	})
}

func TestInterfacesNotedAsOutlivingAnOrphan(t *testing.T) {
	t.Parallel()
	noted := func(ids ...string) func(*World) {
		return ofWeb("i-2", orphanEnded(time.Minute), WithLease(func(l *lease.Lease) { l.Outlive = ids }))
	}
	checkLeftovers(t, []leftoverCase{
		{"beside a valid lease", remains(netIface), with(ofWeb("i-1"), noted("x-1")), remove},
		{"another was noted", remains(netIface), with(ofWeb("i-1"), noted("x-2")), report},
	})
}

// The tag is written onto each instance when it runs: one that ended before that left a volume that says nothing.
func TestALeasedTagOnOneLeftoverCountsForItsWholeLaunch(t *testing.T) {
	t.Parallel()
	beside := func(changes ...func(*lease.Leftover)) func(*World) {
		return func(v *World) {
			other := remains(volume, changes...)
			other.ID = "x-2"
			v.Locations[0].Leftovers = append(v.Locations[0].Leftovers, other)
		}
	}
	leased := Tagged(lease.TagLeased, "web.1")
	checkLeftovers(t, []leftoverCase{
		{"beside a leased one", remains(volume), with(beside(leased)), report},
		{"beside one whose tag was written by somebody", remains(volume), with(beside(Tagged(lease.TagLeased, "yes"))), remove},
		{"beside another registry's", remains(volume), with(beside(leased, Tagged(lease.TagRegistry, "another"))), remove},
		{"an interface that was noted as an orphan's", remains(netIface), with(beside(leased), ofWeb("i-2", orphanEnded(time.Minute),
			WithLease(func(l *lease.Lease) { l.Outlive = []string{"x-1"} }))), remove},
	})
}

func TestSpotRequests(t *testing.T) {
	t.Parallel()
	checkLeftovers(t, []leftoverCase{
		{"fulfilled by an orphan, alive and not seen", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1", Bare)), remove},
		{"fulfilled by an orphan that has ended", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1", orphanEnded(time.Minute))), remove},
		{"fulfilled by an instance whose lease is valid", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1")), keep},
		{"fulfilled by an instance that was let go", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1", WithLease(func(l *lease.Lease) { l.State = lease.StateUnmanaged }))), keep},
		{"fulfilled by an instance whose record cannot be read", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1", Bare), Bad(plan.BadLease, "i-1")), report},
		{"fulfilled by an instance of which nothing is known", remains(spot, fulfilledBy("i-1")), nil, report},
		{"fulfilled by an instance without our client token", remains(spot, fulfilledBy("i-1")), with(ofWeb("i-1", Bare, func(s *Subject) { s.Instance.ClientToken = "" })), report},
		{"open beside an instance whose lease is valid", remains(spot), with(ofWeb("i-1")), remove},
		{"open, and asked for by somebody who copied the tags later", remains(spot, MadeAt(Ago(time.Minute))), nil, report},
		{"cancelled", remains(spot, inState("cancelled")), nil, keep},
		{"disabled", remains(spot, inState("disabled")), nil, report},
	})
}

func TestALaunchIsClearedOnceNothingIsLeftToRemove(t *testing.T) {
	t.Parallel()
	clearing := func(d time.Duration) func(*World) {
		return webIs(func(l *lease.Launch) { l.ClearedAt = Ago(d) })
	}
	for _, c := range []struct {
		name  string
		left  []lease.Leftover
		world []func(*World)
		want  plan.Action
	}{
		{"nothing left", nil, nil, plan.ActClear},
		{"only what is kept for good", []lease.Leftover{remains(volume, Tagged(lease.TagExempt, ""))}, nil, plan.ActClear},
		{"only what is attached to somebody's instance", []lease.Leftover{remains(volume, AttachedTo("i-other"))}, nil, plan.ActClear},
		{"only what may be wanted", []lease.Leftover{remains(volume)}, with(ofWeb("i-1")), plan.ActClear},
		{"only a spot request that was cancelled", []lease.Leftover{remains(spot, inState("cancelled"))}, nil, plan.ActClear},
		{"cleared before", nil, with(clearing(time.Minute)), ""},
		{"cleared before an orphan of it ended", nil, with(clearing(time.Hour), ofWeb("i-1", orphanEnded(30*time.Minute))), plan.ActClear},
		{"something is to be removed", []lease.Leftover{remains(volume)}, nil, ""},
		{"something is being made", []lease.Leftover{remains(volume, inState("creating"))}, nil, ""},
		{"something is still attached to an orphan", []lease.Leftover{remains(volume, AttachedTo("i-1"))}, with(ofWeb("i-1", orphanEnded(time.Hour))), ""},
		{"something is still attached to an instance that terminates by itself", []lease.Leftover{remains(volume, AttachedTo("i-1"))}, with(ofWeb("i-1", Bare, Is(lease.InstanceShuttingDown))), ""},
		{"the same, ended", []lease.Leftover{remains(volume, AttachedTo("i-1"))}, with(ofWeb("i-1", Bare, Is(lease.InstanceTerminated))), ""},
		{"something is attached to another launch's that terminated by itself", []lease.Leftover{remains(volume, AttachedTo("i-1"))}, with(ofWeb("i-1", Bare, Is(lease.InstanceTerminated), func(s *Subject) { s.Instance.ClientToken = "other" })), plan.ActClear},
		{"an orphan has just ended", nil, with(ofWeb("i-1", orphanEnded(time.Minute-1))), ""},
		{"an orphan is not terminated yet", nil, with(ofWeb("i-1", Revoked(lease.CauseFailedCreation, time.Minute))), ""},
		{"an orphan is yet to be judged", nil, with(ofWeb("i-1", Bare)), ""},
		{"something was removed a moment ago", nil, with(webIs(func(l *lease.Launch) { l.Removals = map[string]time.Time{"x-9": Ago(time.Second)} })), ""},
		{"closed within its window", nil, with(webIs(func(l *lease.Launch) { l.Window = lease.Duration(2 * time.Hour) })), ""},
		{"closed a moment ago", nil, with(webIs(func(l *lease.Launch) { l.SettledAt = Ago(time.Second) })), ""},
		{"not listed", nil, with(func(v *World) { v.Locations[0].Sought = nil }), ""},
		{"not listed: said aloud", nil, with(func(v *World) { v.Locations[0].LeftoverErr = "UnauthorizedOperation" }), plan.ActReport},
		{"instances not listed", nil, with(Unlisted), ""},
		{"instances not listed again", nil, with(notAnew), ""},
		{"clock wrong", nil, with(Skewed(time.Minute)), ""},
		{"not closed", nil, with(webIs(func(l *lease.Launch) { l.State = lease.LaunchDone })), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := remainsBy(c.left...)
			for _, change := range c.world {
				change(&v)
			}
			var got plan.Action
			for _, verdict := range Decide(v).Verdicts {
				if verdict.Token == "web" && verdict.InstanceID == "" && verdict.Leftover == nil {
					got = verdict.Action
				}
			}
			if got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

func TestLeftoversAreListedUntilALaunchIsCleared(t *testing.T) {
	t.Parallel()
	p := plan.DefaultPolicy()
	due := func(looked time.Duration, changes ...func(*lease.Launch)) bool {
		s := lease.Snapshot{Launches: []lease.Launch{Launch("web", lease.LaunchClosed, changes...)}}
		return len(plan.DueLeftovers(plan.Join(s, nil, nil, nil), Noon, p, func(string) time.Duration { return looked })) == 1
	}
	settled := func(d time.Duration) func(*lease.Launch) {
		return func(l *lease.Launch) { l.SettledAt = Ago(d) }
	}
	for name, c := range map[string]struct{ got, want bool }{
		"closed a minute ago, listed every minute":      {due(time.Minute, settled(time.Minute)), true},
		"closed forty minutes ago, listed a minute ago": {due(time.Minute), false},
		"closed forty minutes ago, listed five ago":     {due(5 * time.Minute), true},
		"closed a week ago, listed half an hour ago":    {due(30*time.Minute, settled(Long)), true},
		"closed a week ago, listed an hour ago":         {due(time.Hour, settled(Long)), true},
		"closed a week ago, seen again a minute ago":    {due(time.Minute, settled(Long), FirstSeen(time.Minute, "x-1")), true},
		"cleared":                     {due(Long, func(l *lease.Launch) { l.ClearedAt = Noon }), false},
		"closed, and window not over": {due(Long, func(l *lease.Launch) { l.Window = lease.Duration(2 * time.Hour) }), false},
		"cleared before a last removal": {due(Long, func(l *lease.Launch) {
			l.ClearedAt, l.Removals = Ago(time.Minute), map[string]time.Time{"x-1": Ago(time.Second)}
		}), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: due %v, want %v", name, c.got, c.want)
		}
	}
}

func TestAClosedLaunchIsNotForgottenBeforeItIsCleared(t *testing.T) {
	t.Parallel()
	for cleared, want := range map[bool]plan.Action{true: plan.ActPurge, false: ""} {
		v := WorldOf()
		Launches(Launch("web", lease.LaunchClosed, func(l *lease.Launch) {
			l.CreatedAt, l.SettledAt, l.Attempts[0].LastSend = Ago(91*24*time.Hour), Ago(91*24*time.Hour), Ago(91*24*time.Hour)
			if cleared {
				l.ClearedAt = Ago(90 * 24 * time.Hour)
			}
		}))(&v)
		if got := ActionOnLaunch(v, "web"); got != want {
			t.Errorf("cleared %v: decided %q, want %q", cleared, got, want)
		}
	}
}

func TestEachKeptLeftoverSaysWhy(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]World{
		"was once active; --delete-kept-volumes removes it": func() World {
			v := remainsBy(remains(volume))
			ofWeb("i-1", Ended(time.Minute), Missing)(&v)
			return v
		}(),
		"the tag was copied":      remainsBy(remains(volume, MadeAt(Ago(Long)))),
		"another registry's tag":  remainsBy(remains(volume, Tagged(lease.TagRegistry, "another"))),
		"exempt by its tag":       remainsBy(remains(volume, Tagged(lease.TagExempt, "x"))),
		"names no settled launch": remainsBy(remains(volume, Tagged(lease.TagLaunch, "other.1"))),
		"attached to i-other":     remainsBy(remains(volume, AttachedTo("i-other"))),
		"an AWS service manages":  remainsBy(remains(netIface, func(x *lease.Leftover) { x.Service = true })),
	} {
		found := false
		for _, verdict := range Decide(v).Verdicts {
			found = found || verdict.Leftover != nil && strings.Contains(verdict.Reason, want)
		}
		if !found {
			t.Errorf("nothing says %q: %s", want, fmt.Sprint(Summary(Decide(v))))
		}
	}
}

func TestAnAdoptedInstanceTerminatedBeforeItsTagIsSeen(t *testing.T) {
	t.Parallel()
	adopting := WithLease(func(l *lease.Lease) { l.State, l.Launch, l.ClientToken = lease.StateAdopting, "", "" })
	untag := func(s *Subject) { s.Instance.Tags = nil }
	check(t, []spec{
		{"terminated: ended", Holds("i-1", adopting, untag, Is(lease.InstanceTerminated)), nil, Ruling{Action: plan.ActEnd, Cause: lease.CauseGone}},
		{"shutting down: EC2 has not said that it ended", Holds("i-1", adopting, untag, Is(lease.InstanceShuttingDown)), nil, report},
		{"not found: absence terminates nothing", Holds("i-1", adopting, Absent), nil, report},
		{"running without the tag", Holds("i-1", adopting, untag), nil, report},
	})
}
