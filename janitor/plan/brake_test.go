package plan_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// crowd makes a view of several groups of subjects.
func crowd(groups ...[]Subject) World { return WorldOf(slices.Concat(groups...)...) }

// calm keeps the rate brake from engaging.
func calm(v World) World {
	v.Policy.RateMin = 1000
	return v
}

func TestHeartbeatsBrakeEngagesExactlyAboveItsLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lost, all, want int }{
		{2, 2, 2},              // two are always borne
		{3, 3, 0},              // more than two, and more than 30 %
		{3, 9, 0},              // 30 % of 9 is 2
		{3, 10, 3},             // 30 % of 10 is 3
		{4, 10, 0},             // above
		{4, 13, 0},             // 30 % of 13 is 3.9
		{4, 14, 4},             // of 14 it is 4.2
		{6, 20, 6}, {7, 20, 0}, //
		{30, 100, 30},           //
		{31, 100, 0},            //
		{300, 1000, 300},        //
		{301, 1000, 0},          //
		{1, 1, 1}, {1, 1000, 1}, //
		{1000, 1000, 0},  // what a stalled etcd looks like
		{999, 3330, 999}, //
		{1000, 3330, 0},  //
	} {
		t.Run(fmt.Sprintf("%d of %d", c.lost, c.all), func(t *testing.T) {
			t.Parallel()
			planned := Decide(calm(crowd(Many(c.lost, "s", Due), Many(c.all-c.lost, "b", Heartbeats))))
			if n := Tally(planned); n[plan.ActTerminate] != c.want || n[plan.ActHold] != c.lost-c.want {
				t.Errorf("decided %v, want %d terminated", n, c.want)
			}
			if tripped := c.want == 0; HeldBy(planned, plan.BrakeHeartbeats, "euw1-az1") != tripped {
				t.Errorf("brakes %+v", planned.Brakes)
			}
		})
	}
}

func TestHeartbeatsBrakeCountsLeasesWithAnyTimeout(t *testing.T) {
	t.Parallel()
	longest := WithLease(func(l *lease.Lease) { l.HeartbeatTimeout = math.MaxInt64 })
	planned := Decide(calm(crowd(Many(10, "s", Due, longest))))
	if n := Tally(planned); n[plan.ActHold] != 10 || !HeldBy(planned, plan.BrakeHeartbeats, "euw1-az1") {
		t.Errorf("decided %v under %+v, want all held back", n, planned.Brakes)
	}
}

func TestHeartbeatsBrakeCountsPerZoneAndRegistryWide(t *testing.T) {
	t.Parallel()
	a, b := InZone("az-a"), InZone("az-b")
	t.Run("a zone in trouble is held back, another is not", func(t *testing.T) {
		t.Parallel()
		planned := Decide(calm(crowd(Many(3, "a", Due, a), Many(2, "b", Due, b), Many(20, "c", Heartbeats, b))))
		if n := Tally(planned); n[plan.ActTerminate] != 2 || n[plan.ActHold] != 3 {
			t.Errorf("decided %v", n)
		}
		if !HeldBy(planned, plan.BrakeHeartbeats, "az-a") || HeldBy(planned, plan.BrakeHeartbeats, "az-b") || HeldBy(planned, plan.BrakeHeartbeats, "") {
			t.Errorf("brakes %+v", planned.Brakes)
		}
	})
	t.Run("two lost in each of several zones are too many for the registry", func(t *testing.T) {
		t.Parallel()
		planned := Decide(calm(crowd(Many(2, "a", Due, a), Many(2, "b", Due, b), Many(2, "c", Heartbeats, a))))
		if n := Tally(planned); n[plan.ActTerminate] != 0 || n[plan.ActHold] != 4 || !HeldBy(planned, plan.BrakeHeartbeats, "") {
			t.Errorf("decided %v, brakes %+v", n, planned.Brakes)
		}
	})
	t.Run("a zone without an id counts by its name", func(t *testing.T) {
		t.Parallel()
		nameOnly := func(s *Subject) { s.Lease.ZoneID, s.Instance.ZoneID = "", "" }
		planned := Decide(calm(crowd(Many(3, "a", Due, nameOnly), Many(20, "c", Heartbeats, b))))
		if !HeldBy(planned, plan.BrakeHeartbeats, "eu-west-1a") || Tally(planned)[plan.ActTerminate] != 0 {
			t.Errorf("brakes %+v", planned.Brakes)
		}
	})
	t.Run("what is lost nobody knows where counts in each zone", func(t *testing.T) {
		t.Parallel()
		unplaced := Many(1, "x", Due, InZone(""))
		planned := Decide(calm(crowd(Many(2, "a", Due, a), unplaced, Many(20, "c", Heartbeats, b))))
		if n := Tally(planned); n[plan.ActHold] < 2 || !HeldBy(planned, plan.BrakeHeartbeats, "az-a") || HeldBy(planned, plan.BrakeHeartbeats, "") {
			t.Errorf("decided %v, brakes %+v", n, planned.Brakes)
		}
	})
	t.Run("without any zone the registry alone counts, and each lease once", func(t *testing.T) {
		t.Parallel()
		planned := Decide(calm(crowd(Many(2, "a", Due, InZone("")))))
		if n := Tally(planned); n[plan.ActTerminate] != 2 {
			t.Errorf("decided %v, brakes %+v", n, planned.Brakes)
		}
	})
}

func TestAnUnlistedInstanceCountsInItsLastZone(t *testing.T) {
	t.Parallel()
	named := func(s *Subject) { s.Lease.ZoneID = "" } // as an endpoint told that knew no ids
	wrong := func(s *Subject) { s.Lease.ZoneID, s.Lease.Zone = "az-x", "x" }
	for name, c := range map[string]struct {
		fourth []func(*Subject)
		ended  int
	}{
		"recorded without an id":                               {[]func(*Subject){Lost(0), named, Missing}, 0},
		"revoked for a lost heartbeat, recorded without an id": {[]func(*Subject){Lost(0), Revoked(lease.CauseHeartbeatLost, time.Minute), named, Missing}, 0},
		"recorded elsewhere, and seen by this leader":          {[]func(*Subject){Lost(0), wrong, WithRenewal(func(s *plan.Renewal) { s.Zone = "euw1-az1" }), Missing}, 0},
		"recorded elsewhere, and never seen":                   {[]func(*Subject){Lost(0), wrong, Missing}, 3},
		"shown elsewhere than this leader saw it":              {[]func(*Subject){Lost(0), InZone("az-x"), WithRenewal(func(s *plan.Renewal) { s.Zone = "euw1-az1" })}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := calm(crowd(Many(3, "a", Due), Many(7, "b", Heartbeats), Many(20, "x", Heartbeats, InZone("az-x"))))
			Add(&v, Holds("i-c", c.fourth...))
			ended := 0
			for _, verdict := range Decide(v).With(plan.ActTerminate) {
				if verdict.InstanceID < "i-b" {
					ended++
				}
			}
			if ended != c.ended {
				t.Errorf("%d of three terminated beside a fourth that is lost, want %d", ended, c.ended)
			}
		})
	}
}

func TestInstancesThatCountForTheHeartbeatsBrake(t *testing.T) {
	t.Parallel()
	withHeartbeatTimeout := func(d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) { l.HeartbeatTimeout = lease.Duration(d) })
	}
	booting := func(s *Subject) {
		Lost(time.Minute)(s)
		Unseen(s)
		s.Instance.LaunchTime = Ago(time.Minute)
	}
	elsewhere := func(s *Subject) { s.Lease.Region, s.Instance = There.Region, nil }
	// Three are due among ten: exactly as many as are borne. The others are changed.
	for _, c := range []struct {
		name   string
		others []Subject
		world  []func(*World)
		held   bool
	}{
		{"seven that renew", Many(7, "b", Heartbeats), nil, false},
		{"six that renew", Many(6, "b", Heartbeats), nil, true},
		{"seven that renew with a shorter timeout", Many(7, "b", Heartbeats, withHeartbeatTimeout(HeartbeatTimeout-1)), nil, false},
		{"seven that renew with a longer timeout say nothing yet", Many(7, "b", Heartbeats, withHeartbeatTimeout(HeartbeatTimeout+1)), nil, true},
		{"one lost with a longer timeout says nothing yet", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), withHeartbeatTimeout(HeartbeatTimeout+1))), nil, false},
		{"one lost with a shorter timeout", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), withHeartbeatTimeout(HeartbeatTimeout-1))), nil, true},
		{"seven without a timeout", Many(7, "b"), nil, true},
		{"seven stopped", Many(7, "b", Heartbeats, Is(lease.InstanceStopped)), nil, true},
		{"one more, lost and stopped", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(lease.InstanceStopped))), nil, false},
		{"one more, lost and pending", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(lease.InstancePending))), nil, false},
		{"one more, lost and stopping", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(lease.InstanceStopping))), nil, false},
		{"one more, lost and shutting down", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(lease.InstanceShuttingDown))), nil, false},
		{"one more, lost and terminated", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(lease.InstanceTerminated))), nil, false},
		{"one more, lost, in a state that EC2 does not tell", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Is(""))), nil, true},
		{"one more, lost, and not shown by EC2 any more", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Missing)), nil, true},
		{"one more, lost, and absent by id", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Absent)), nil, true},
		{"seven that renew, and are not shown by EC2", Many(7, "b", Heartbeats, Missing), nil, true},
		{"one more, booting", append(Many(7, "b", Heartbeats), Holds("i-c", booting)), nil, false},
		{"one more, booting, and not shown by EC2", append(Many(7, "b", Heartbeats), Holds("i-c", booting, Missing)), nil, true},
		{"seven that renew and are exempt", Many(7, "b", Heartbeats, Exempt), nil, true},
		{"seven that renew and are not ours", Many(7, "b", Heartbeats, Foreign), nil, true},
		{"seven that renew and are not those that are bound", Many(7, "b", Heartbeats, Unbound), nil, true},
		{"one more, booting, which has renewed since it started", append(Many(7, "b", Heartbeats), Holds("i-c", booting, WithLease(func(l *lease.Lease) { l.ClaimedAt = Ago(time.Minute) }))), nil, true},
		{"one more, booting, which has renewed before it started", append(Many(7, "b", Heartbeats), Holds("i-c", booting, WithLease(func(l *lease.Lease) { l.ClaimedAt = Ago(time.Minute + 1) }))), nil, false},
		{"one more, booting, which was found lost since it started", append(Many(7, "b", Heartbeats), Holds("i-c", booting, Marked(lease.CauseHeartbeatLost, In(4*time.Minute)))), nil, true},
		{"one more, booting, which was found lost before it started", append(Many(7, "b", Heartbeats), Holds("i-c", booting, Marked(lease.CauseHeartbeatLost, In(4*time.Minute-1)))), nil, false},
		{"one more, booting, with notice of its expiry", append(Many(7, "b", Heartbeats), Holds("i-c", booting, Marked(lease.CauseExpired, In(4*time.Minute)))), nil, false},
		{"one more, booting, which this leader has heard since it started", append(Many(7, "b", Heartbeats), Holds("i-c", booting, WithRenewal(func(s *plan.Renewal) { s.EverSeen = true }))), nil, true},
		{"seven booting", Many(7, "b", booting), nil, true},
		{"seven booting that renew", Many(7, "b", booting, Heartbeats), nil, false},
		{"seven that renew, expired", Many(7, "b", Heartbeats, Over(time.Minute)), nil, true},
		{"one more, lost, expired", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Over(time.Minute))), nil, true},
		{"one more, lost and exempt", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Exempt)), nil, true},
		{"one more, lost in a location that is not swept", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), elsewhere)), nil, false},
		{"one revoked for a lost heartbeat within the hour", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Revoked(lease.CauseHeartbeatLost, time.Hour-1))), nil, true},
		{"one revoked for having no heartbeat within the hour", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Revoked(lease.CauseNoHeartbeat, time.Minute))), nil, true},
		{"one revoked for a lost heartbeat and terminated within the hour", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Revoked(lease.CauseHeartbeatLost, time.Minute), Ended(time.Second), Missing)), nil, true},
		{"one revoked for a lost heartbeat an hour ago", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Revoked(lease.CauseHeartbeatLost, time.Hour))), nil, false},
		{"one released within the hour", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), Revoked(lease.CauseRelease, time.Minute))), nil, false},
		{"one revoked for a lost heartbeat in another zone", append(Many(7, "b", Heartbeats), Holds("i-c", Lost(0), InZone("az-x"), Revoked(lease.CauseHeartbeatLost, time.Minute))), nil, true},
		{"one lease that cannot be read", append(Many(7, "b", Heartbeats), Holds("i-c", Bare)), with(Bad(plan.BadLease, "i-c")), true},
		{"one lease that cannot be read, not shown by EC2", Many(7, "b", Heartbeats), with(Bad(plan.BadLease, "i-c")), true},
		{"one lease that cannot be read, but renews", append(Many(7, "b", Heartbeats), Holds("i-c", Bare)), with(Bad(plan.BadLease, "i-c"), func(v *World) {
			v.Snapshot.Heartbeats["i-c"] = lease.Heartbeat{Held: true}
		}), false},
		{"one of those that renew has a heartbeat that cannot be read", Many(7, "b", Heartbeats), with(Bad(plan.BadHeartbeat, "i-b000")), true},
		{"one more, whose heartbeat cannot be read", Many(8, "b", Heartbeats), with(Bad(plan.BadHeartbeat, "i-b000")), true},
		{"a launch that cannot be read", Many(7, "b", Heartbeats), with(Bad("launch", "a-launch")), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := calm(crowd(Many(3, "a", Due), c.others))
			for _, change := range c.world {
				change(&v)
			}
			ended := 0
			for _, verdict := range Decide(v).With(plan.ActTerminate) {
				if verdict.InstanceID < "i-b" {
					ended++
				}
			}
			if want := map[bool]int{true: 0, false: 3}[c.held]; ended != want {
				t.Errorf("%d terminated, want %d", ended, want)
			}
		})
	}
}

func TestNothingIsMarkedWhileTheHeartbeatsBrakeIsEngaged(t *testing.T) {
	t.Parallel()
	if n := Tally(Decide(calm(crowd(Many(3, "s", Lost(0)), Many(6, "b", Heartbeats))))); n[plan.ActMark] != 0 || n[plan.ActHold] != 3 {
		t.Errorf("decided %v", n)
	}
	if n := Tally(Decide(calm(crowd(Many(3, "s", Lost(0)), Many(7, "b", Heartbeats))))); n[plan.ActMark] != 3 {
		t.Errorf("decided %v", n)
	}
}

// A release of the heartbeats brake is valid for two hours. If no sweep came in between, the released brake is still in
// the last checkpoint: engaged again, it can be released again.
func TestAHeartbeatsBrakeCanBeReleasedAgainAfterTheReleaseHasRunOut(t *testing.T) {
	t.Parallel()
	v := crowd(Many(3, "s", Lost(0)), Many(6, "b", Heartbeats))
	held := Decide(v).Brakes
	for n := range held {
		held[n].Since = Ago(4 * time.Hour)
	}
	v.Snapshot.Checkpoint.Brakes, v.Snapshot.Registry = held, v.Snapshot.Registry.Lift(Ago(3*time.Hour), lease.BrakeHeartbeats, held, lease.By{Actor: "ada"})
	again := Decide(v).Brakes
	if able := v.Snapshot.Registry.Stands(again); len(held) == 0 || len(able) != len(held) || !able[0].Since.Equal(Noon) {
		t.Errorf("of %v, engaged again, %v can be released", again, able)
	}
}

func TestDeclaredCausesAreNotLimited(t *testing.T) {
	t.Parallel()
	v := crowd(Many(100, "t", Over(time.Minute)), Many(100, "r", Revoked(lease.CauseRelease, 0)), Many(50, "s", Due))
	if n := Tally(Decide(v)); n[plan.ActTerminate] != 200 || n[plan.ActHold] != 50 {
		t.Errorf("decided %v", n)
	}
}

func TestBrakesSayWhyAndSinceWhen(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Lost(Long)))
	Unlisted(&v)
	Undated(&v)
	Ill(&v)
	v.Snapshot.Checkpoint.Brakes = []lease.Brake{{Name: plan.BrakeClock, Scope: Here.String(), Since: Ago(time.Hour)}, {Name: plan.BrakeHealth, Scope: "x", Since: Ago(Long)}}
	want := []lease.Brake{
		{Name: plan.BrakeClock, Scope: Here.String(), Since: Ago(time.Hour), Reason: "EC2 sent no date, so the clock cannot be checked"},
		{Name: plan.BrakeHealth, Scope: "", Since: Noon, Reason: "alarm NOSPACE"},
		{Name: plan.BrakeHealth, Scope: Here.String(), Since: Noon, Reason: "listing failed: RequestLimitExceeded"},
	}
	planned := Decide(v)
	if !slices.Equal(planned.Brakes, want) {
		t.Errorf("brakes %+v", planned.Brakes)
	}
	if len(planned.Enforcing) != 0 {
		t.Errorf("acting %v where all is held back", planned.Enforcing)
	}
	if planned := Decide(WorldOf(Holds("i-1"))); len(planned.Brakes) != 0 || planned.Enforcing[Here.String()] != Ago(Long) {
		t.Errorf("brakes %+v, acting %v, although nothing is wrong", planned.Brakes, planned.Enforcing)
	}
}

func TestASingleSweepShowsNoHeartbeatsBrake(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Due))
	v.Policy.SkipHeartbeats = true
	Ill(&v)
	if planned := Decide(v); len(planned.Brakes) != 0 {
		t.Errorf("brakes %+v", planned.Brakes)
	}
}
