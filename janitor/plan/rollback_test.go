package plan_test

import (
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// expired is to be ended at once: its term passed a second ago, watched.
func expired(s *Subject) { Over(time.Second)(s) }

// ahead is a lease whose sidecar renews, and has seen so many changes more than there are.
func ahead(by int64) func(*World) {
	return func(v *World) {
		for id, hb := range v.Snapshot.Heartbeats {
			hb.Changes = by
			v.Snapshot.Heartbeats[id] = hb
		}
	}
}

func TestALeaseOlderThanItsSidecarKnowsIsHeldBackAlone(t *testing.T) {
	t.Parallel()
	v := crowd(Many(2, "a", Heartbeats, Revoked(lease.CauseRelease, time.Minute)), Many(60, "b", expired))
	ahead(1)(&v)
	planned := Decide(v)
	if n := Tally(planned); n[plan.ActHold] != 2 || n[plan.ActTerminate] != 60 {
		t.Errorf("decided %v, want the two held back and 60 terminated", n)
	}
	if len(planned.Behind) != 2 || planned.Behind["i-a000"] == 0 || HeldBy(planned, lease.BrakeRollback, "") {
		t.Errorf("brakes %+v", planned.Brakes)
	}
	if len(plan.Standing(planned.Brakes)) > 0 {
		t.Errorf("%v engaged, although their cause tells when they end", plan.Standing(planned.Brakes))
	}
}

func TestAHeartbeatWithoutAnEtcdLeaseProvesNoLaterChanges(t *testing.T) {
	t.Parallel()
	v := crowd(Many(5, "a", Heartbeats, expired))
	ahead(9)(&v)
	for id, hb := range v.Snapshot.Heartbeats {
		hb.Held = false // a key that was left behind, or put by hand
		v.Snapshot.Heartbeats[id] = hb
	}
	if planned := Decide(v); len(planned.Ends()) != 5 || HeldBy(planned, lease.BrakeRollback, "") {
		t.Errorf("%d terminated, brakes %+v; want all five, by their dates", len(planned.Ends()), planned.Brakes)
	}
}

func TestEverythingIsHeldBackWhenManySidecarsKnowLaterStates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead, all int
		held       bool
	}{
		"two of two": {2, 2, false}, "three of three": {3, 3, true}, "three of 59": {3, 59, true}, "three of 60": {3, 60, false},
		"50 of 1000": {50, 1000, false}, "51 of 1000": {51, 1000, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(Many(c.ahead, "a", Heartbeats))
			ahead(9)(&v)
			for _, s := range append(Many(c.all-c.ahead, "b", Heartbeats), Many(10, "c", expired)...) {
				Add(&v, s)
			}
			planned := Decide(v)
			if got := HeldBy(planned, lease.BrakeRollback, ""); got != c.held || (len(planned.Ends()) == 0) != c.held {
				t.Errorf("%d terminated, brakes %+v; want held back: %t", len(planned.Ends()), planned.Brakes, c.held)
			}
			if got := len(plan.Standing(planned.Brakes)) == 1 && len(planned.Enforcing) == 0; got != c.held {
				t.Errorf("standing %v, acting %v", plan.Standing(planned.Brakes), planned.Enforcing)
			}
		})
	}
}

func TestDoubtfulInstancesDoNotRaiseTheRollbackLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sixtieth []func(*Subject)
		world    func(*World)
		held     bool
	}{
		"one that renews":            {[]func(*Subject){Heartbeats}, nil, false},
		"one that is not shown":      {[]func(*Subject){Heartbeats, Missing}, nil, true},
		"one that is stopped":        {[]func(*Subject){Heartbeats, Is(lease.InstanceStopped)}, nil, true},
		"one that is exempt":         {[]func(*Subject){Heartbeats, Exempt}, nil, true},
		"one that is not ours":       {[]func(*Subject){Heartbeats, Foreign}, nil, true},
		"one that has expired":       {[]func(*Subject){Heartbeats, Over(time.Minute)}, nil, true},
		"one that is lost":           {[]func(*Subject){Lost(0)}, nil, true},
		"one without a lease":        {[]func(*Subject){Bare, Foreign}, Knows("i-c", 0), true},
		"one without any record":     {[]func(*Subject){Missing}, Knows("i-d", 0), true},
		"one that knows more, alone": {[]func(*Subject){Heartbeats}, Knows("i-b000", 9), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(Many(3, "a", Heartbeats))
			ahead(9)(&v)
			for _, s := range append(Many(56, "b", Heartbeats), Holds("i-c", c.sixtieth...)) {
				Add(&v, s)
			}
			if c.world != nil {
				c.world(&v)
			}
			if got := HeldBy(Decide(v), lease.BrakeRollback, ""); got != c.held {
				t.Errorf("three of 59 know more, and %s: held back %t", name, got)
			}
		})
	}
}

func TestALaunchWithoutARecordHoldsEverythingBackIfNewerThanTheCheckpoint(t *testing.T) {
	t.Parallel()
	const old = "019526e0-7e2a-7abc-8def-0123456789ab" // of 2025
	started := func(d time.Duration) func(*Subject) {
		return func(s *Subject) { s.Instance.LaunchTime = Ago(d) }
	}
	for name, c := range map[string]struct {
		changes []func(*Subject)
		view    func(*World)
		held    bool
	}{
		"chosen token, launched after the checkpoint":       {[]func(*Subject){BornOf("web"), started(30 * time.Second)}, nil, true},
		"chosen token, launched before the checkpoint":      {[]func(*Subject){BornOf("web"), started(2 * time.Minute)}, nil, false},
		"younger by just what two clocks may differ":        {[]func(*Subject){BornOf("web"), started(50 * time.Second)}, nil, false},
		"younger by more than two clocks may differ":        {[]func(*Subject){BornOf("web"), started(50*time.Second - 1)}, nil, true},
		"generated token of long ago, started again":        {[]func(*Subject){BornOf(old), started(30 * time.Second)}, nil, false},
		"token dated ahead, launched before the checkpoint": {[]func(*Subject){BornOf(dateAhead), started(2 * time.Minute)}, nil, false},
		"its tag was copied":                                {[]func(*Subject){BornOf("web"), started(30 * time.Second), func(s *Subject) { s.Instance.ClientToken = "theirs" }}, nil, false},
		"its tag names another launch":                      {[]func(*Subject){BornOf("web"), started(30 * time.Second), func(s *Subject) { s.Instance.Tags[lease.TagLaunch] = "other.1" }}, nil, false},
		"younger by less than two clocks may differ":        {[]func(*Subject){BornOf("web"), started(30 * time.Second)}, func(v *World) { v.Snapshot.Checkpoint.Time = Ago(35 * time.Second) }, false},
		"another registry's":                                {[]func(*Subject){BornOf("web"), started(30 * time.Second), Foreign}, nil, false},
		"its record is there":                               {[]func(*Subject){BornOf("web"), started(30 * time.Second)}, Launches(Launch("web", lease.LaunchOpen)), false},
		"its record is there, but not of the attempt":       {[]func(*Subject){BornOf("web"), started(30 * time.Second), func(s *Subject) { s.Instance.ClientToken, s.Instance.Tags[lease.TagLaunch] = "web.2", "web.2" }}, Launches(Launch("web", lease.LaunchOpen)), true},
		"its record cannot be read":                         {[]func(*Subject){BornOf("web"), started(30 * time.Second)}, Bad("launch", "web"), false},
		"there was no checkpoint yet":                       {[]func(*Subject){BornOf("web"), started(30 * time.Second)}, func(v *World) { v.Snapshot.Checkpoint.Time = time.Time{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(Holds("i-stray", c.changes...), Holds("i-due", Marked(lease.CauseExpired, Ago(time.Minute)), Over(time.Hour)))
			if c.view != nil {
				c.view(&v)
			}
			planned := Decide(v)
			if got := HeldBy(planned, lease.BrakeRollback, ""); got != c.held {
				t.Errorf("brakes %+v, want held back: %t", planned.Brakes, c.held)
			}
			if ends := len(planned.Ends()); c.held && ends > 0 {
				t.Errorf("%d terminated", ends)
			}
		})
	}
}

func TestAStandingBrakeHoldsBackEveryActionUntilReleased(t *testing.T) {
	t.Parallel()
	world := func() World {
		v := WorldOf(Holds("i-term", expired), Holds("i-revoked", Revoked(lease.CauseRelease, time.Hour)), Holds("i-gone", Is(lease.InstanceTerminated)),
			Holds("i-silent", Due), Holds("i-late", Lost(Long)))
		Launches(Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "i-left")), Launch("old", lease.LaunchOpen))(&v)
		Add(&v, Holds("i-left", BornOf("web")))
		Add(&v, Holds("i-past", Ended(30*24*time.Hour), Missing))
		return v
	}
	before := Decide(world())
	v := world()
	v.Standing = []lease.Brake{{Name: lease.BrakeUnwatched, Since: Ago(time.Hour), Reason: "then"}}
	planned := Decide(v)
	for _, verdict := range planned.Verdicts {
		if verdict.Action != plan.ActNone && verdict.Action != plan.ActReport && verdict.Action != plan.ActHold {
			t.Errorf("%s %s%s", verdict.Action, verdict.InstanceID, verdict.Token)
		}
	}
	if got := plan.Standing(planned.Brakes); !slices.Equal(got, v.Standing) {
		t.Errorf("standing %v, want it as it was", got)
	}
	if n := Tally(before); len(before.Ends()) < 4 || n[plan.ActMark] == 0 || n[plan.ActPurge] == 0 || n[plan.ActEnd] == 0 || n[plan.ActClose] == 0 {
		t.Errorf("decided %v without the brake: the test shows little", n)
	}
}

func TestSidecarsOfLostOrUnreadableLeasesCountForRollback(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*World){
		"lost": func(v *World) { v.Snapshot.Leases = v.Snapshot.Leases[3:] },
		"unreadable": func(v *World) {
			Bad(plan.BadLease, "i-a000")(v)
			Bad(plan.BadLease, "i-a001")(v)
			Bad(plan.BadLease, "i-a002")(v)
			v.Snapshot.Leases = v.Snapshot.Leases[3:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := crowd(Many(3, "a", Heartbeats, WithLease(func(l *lease.Lease) { l.Changes = 1 })))
			ahead(1)(&v)
			Add(&v, Holds("i-due", expired))
			if planned := Decide(v); len(planned.Ends()) != 1 || len(planned.Brakes) > 0 {
				t.Fatalf("%d terminated, brakes %+v, although the records are as new as any sidecar knows", len(planned.Ends()), planned.Brakes)
			}
			spoil(&v)
			if planned := Decide(v); len(planned.Ends()) > 0 || !HeldBy(planned, lease.BrakeRollback, "") {
				t.Errorf("%d terminated, brakes %+v; want everything held back", len(planned.Ends()), planned.Brakes)
			}
		})
	}
}

func TestLeasesBeyondTheNamedOnesAreHeldBackToo(t *testing.T) {
	t.Parallel()
	const behindNamed = 100
	v := crowd(Many(behindNamed+2, "a", Heartbeats, Revoked(lease.CauseRelease, time.Minute)))
	ahead(9)(&v)
	v.Policy.BehindMin = behindNamed + 2
	for _, s := range Many(10, "c", expired) {
		Add(&v, s)
	}
	planned := Decide(v)
	if n := Tally(planned); n[plan.ActHold] != behindNamed+2 || n[plan.ActTerminate] != 10 || len(planned.Behind) != behindNamed {
		t.Errorf("decided %v, %d named; want %d held back, of which %d are named", n, len(planned.Behind), behindNamed+2, behindNamed)
	}
}

func TestAStandingBrakeKeepsItsDate(t *testing.T) {
	t.Parallel()
	v := crowd(Many(9, "a", Heartbeats))
	ahead(9)(&v)
	v.Standing = []lease.Brake{{Name: lease.BrakeRollback, Since: Ago(time.Hour), Reason: "then"}}
	if got := plan.Standing(Decide(v).Brakes); !slices.Equal(got, v.Standing) {
		t.Errorf("standing %v, want it as it was: it is one incident, and is released once", got)
	}
}

func TestAReleasedHeartbeatsBrakeAllowsOnlyTheLossesOfThatTime(t *testing.T) {
	t.Parallel()
	crowded := func(lost int, said time.Duration) plan.Plan {
		v := calm(crowd(Many(lost, "s", Due), Many(10, "b", Heartbeats)))
		held := Decide(calm(crowd(Many(6, "s", Due), Many(10, "b", Heartbeats)))).Brakes
		v.Snapshot.Registry = v.Snapshot.Registry.Lift(Ago(said), lease.BrakeHeartbeats, held, lease.By{Actor: "ada"})
		return Decide(v)
	}
	for name, c := range map[string]struct {
		lost int
		said time.Duration
		ends int
	}{
		"those who were lost": {6, time.Minute, 6},
		"one more":            {7, time.Minute, 0},
		"said long ago":       {6, 3 * time.Hour, 0},
		"said in the future":  {6, -3 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if planned := crowded(c.lost, c.said); len(planned.Ends()) != c.ends || HeldBy(planned, plan.BrakeHeartbeats, "euw1-az1") != (c.ends == 0) {
				t.Errorf("%d terminated, want %d; brakes %+v", len(planned.Ends()), c.ends, planned.Brakes)
			}
		})
	}
}

func TestAnOrphanIsHeldBackIfItsSidecarHasSeenALease(t *testing.T) {
	t.Parallel()
	for changes, want := range map[int64]plan.Action{0: plan.ActOrphan, 1: plan.ActHold} {
		v := WorldOf(Holds("i-left", BornOf("web")))
		Launches(Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "i-left")))(&v)
		Knows("i-left", changes)(&v)
		if got, verdict := RulingOn(t, v, "i-left"); got.Action != want {
			t.Errorf("a sidecar that has seen %d changes: %s (%s), want %s", changes, got.Action, verdict.Reason, want)
		}
	}
}

func TestALeaseOlderThanItsSidecarKnewStaysHeldBackAfterItsHeartbeatIsLost(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Heartbeats))
	ahead(7)(&v)
	first := Decide(v)
	if first.Behind["i-1"] == 0 {
		t.Fatalf("behind %+v, want i-1", first.Behind)
	}
	for name, c := range map[string]struct {
		now  func(*World)
		want plan.Action
	}{
		"its sidecar is gone":             {func(v *World) { clear(v.Snapshot.Heartbeats) }, plan.ActHold},
		"its sidecar begins again":        {Knows("i-1", 0), plan.ActHold},
		"it was extended, which is older": {func(v *World) { v.Snapshot.Leases[0].Changes = 6 }, plan.ActHold},
		"a person took it as it is":       {func(v *World) { v.Snapshot.Leases[0] = v.Snapshot.Leases[0].CatchUp(Noon, 7, Jan) }, plan.ActMark},
		"it was revoked, which is for good": {func(v *World) {
			v.Snapshot.Leases[0].State, v.Snapshot.Leases[0].Cause = lease.StateRevoked, lease.CauseRelease
			clear(v.Snapshot.Heartbeats)
		}, plan.ActTerminate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(Holds("i-1", Due))
			v.Snapshot.Checkpoint.Brakes, v.Snapshot.Checkpoint.Behind = first.Brakes, first.Behind
			c.now(&v)
			if got, verdict := RulingOn(t, v, "i-1"); got.Action != c.want {
				t.Errorf("%s (%s), want %s", got.Action, verdict.Reason, c.want)
			}
			if HeldBy(Decide(v), lease.BrakeRollback, "") {
				t.Error("one that is remembered holds everything back")
			}
		})
	}
}
