package janitor

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// due is silent, with its mark and every grace behind it: it ends unless a brake holds.
func due(s *subject) {
	silent(long)(s)
	marked(lease.CauseSilence, ago(2*time.Hour))(s)
}

// crowd makes a view of several groups of subjects.
func crowd(groups ...[]subject) View { return viewOf(slices.Concat(groups...)...) }

// calm lifts the rate brake out of the way.
func calm(v View) View {
	v.Policy.RateMin = 1000
	return v
}

func heldBy(plan Plan, name, scope string) bool {
	return slices.ContainsFunc(plan.Brakes, func(b lease.Brake) bool { return b.Name == name && b.Scope == scope })
}

func TestSilenceBrakeTripsExactlyAboveItsLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ silent, all, want int }{
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
		t.Run(fmt.Sprintf("%d of %d", c.silent, c.all), func(t *testing.T) {
			t.Parallel()
			plan := decide(calm(crowd(many(c.silent, "s", due), many(c.all-c.silent, "b", beats))))
			if n := tally(plan); n[ActEnd] != c.want || n[ActHold] != c.silent-c.want {
				t.Errorf("decided %v, want %d ended", n, c.want)
			}
			if tripped := c.want == 0; heldBy(plan, brakeSilence, "euw1-az1") != tripped {
				t.Errorf("brakes %+v", plan.Brakes)
			}
		})
	}
}

func TestSilenceBrakeCountsWhateverTTLARecordNames(t *testing.T) {
	t.Parallel()
	longest := withLease(func(l *lease.Lease) { l.TTL = math.MaxInt64 })
	plan := decide(calm(crowd(many(10, "s", due, longest))))
	if n := tally(plan); n[ActHold] != 10 || !heldBy(plan, brakeSilence, "euw1-az1") {
		t.Errorf("decided %v under %+v, want all held", n, plan.Brakes)
	}
}

func TestSilenceBrakeCountsPerZoneAndRegistryWide(t *testing.T) {
	t.Parallel()
	a, b := inZone("az-a"), inZone("az-b")
	t.Run("a zone in trouble is held, another is not", func(t *testing.T) {
		t.Parallel()
		plan := decide(calm(crowd(many(3, "a", due, a), many(2, "b", due, b), many(20, "c", beats, b))))
		if n := tally(plan); n[ActEnd] != 2 || n[ActHold] != 3 {
			t.Errorf("decided %v", n)
		}
		if !heldBy(plan, brakeSilence, "az-a") || heldBy(plan, brakeSilence, "az-b") || heldBy(plan, brakeSilence, "") {
			t.Errorf("brakes %+v", plan.Brakes)
		}
	})
	t.Run("two silent in each of several zones are too many for the registry", func(t *testing.T) {
		t.Parallel()
		plan := decide(calm(crowd(many(2, "a", due, a), many(2, "b", due, b), many(2, "c", beats, a))))
		if n := tally(plan); n[ActEnd] != 0 || n[ActHold] != 4 || !heldBy(plan, brakeSilence, "") {
			t.Errorf("decided %v, brakes %+v", n, plan.Brakes)
		}
	})
	t.Run("a zone without an id counts by its name", func(t *testing.T) {
		t.Parallel()
		nameOnly := func(s *subject) { s.lease.ZoneID, s.instance.ZoneID = "", "" }
		plan := decide(calm(crowd(many(3, "a", due, nameOnly), many(20, "c", beats, b))))
		if !heldBy(plan, brakeSilence, "eu-west-1a") || tally(plan)[ActEnd] != 0 {
			t.Errorf("brakes %+v", plan.Brakes)
		}
	})
	t.Run("without any zone the registry alone counts, and each lease once", func(t *testing.T) {
		t.Parallel()
		plan := decide(calm(crowd(many(2, "a", due, inZone("")))))
		if n := tally(plan); n[ActEnd] != 2 {
			t.Errorf("decided %v, brakes %+v", n, plan.Brakes)
		}
	})
}

func TestWhatEC2DoesNotShowAnyMoreCountsInTheZoneWhereItWas(t *testing.T) {
	t.Parallel()
	named := func(s *subject) { s.lease.ZoneID = "" } // as an endpoint told that knew no ids
	wrong := func(s *subject) { s.lease.ZoneID, s.lease.Zone = "az-x", "x" }
	for name, c := range map[string]struct {
		fourth []func(*subject)
		ended  int
	}{
		"recorded without an id":                      {[]func(*subject){silent(0), named, missing}, 0},
		"revoked for silence, recorded without an id": {[]func(*subject){silent(0), revoked(lease.CauseSilence, time.Minute), named, missing}, 0},
		"recorded elsewhere, and seen by this leader": {[]func(*subject){silent(0), wrong, withSilence(func(s *Silence) { s.Zone = "euw1-az1" }), missing}, 0},
		"recorded elsewhere, and never seen":          {[]func(*subject){silent(0), wrong, missing}, 3},
		"shown elsewhere than this leader saw it":     {[]func(*subject){silent(0), inZone("az-x"), withSilence(func(s *Silence) { s.Zone = "euw1-az1" })}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := calm(crowd(many(3, "a", due), many(7, "b", beats), many(20, "x", beats, inZone("az-x"))))
			v.add(holds("i-c", c.fourth...))
			ended := 0
			for _, verdict := range decide(v).With(ActEnd) {
				if verdict.InstanceID < "i-b" {
					ended++
				}
			}
			if ended != c.ended {
				t.Errorf("%d of three ended beside a fourth that is silent, want %d", ended, c.ended)
			}
		})
	}
}

func TestWhoCountsForTheSilenceBrake(t *testing.T) {
	t.Parallel()
	withTTL := func(d time.Duration) func(*subject) {
		return withLease(func(l *lease.Lease) { l.TTL = lease.Duration(d) })
	}
	booting := func(s *subject) {
		silent(time.Minute)(s)
		unseen(s)
		s.instance.LaunchTime = ago(time.Minute)
	}
	elsewhere := func(s *subject) { s.lease.Region, s.instance = there.Region, nil }
	// Three are due among ten: exactly as many as are borne. The others are changed.
	for _, c := range []struct {
		name   string
		others []subject
		world  []func(*View)
		held   bool
	}{
		{"seven that beat", many(7, "b", beats), nil, false},
		{"six that beat", many(6, "b", beats), nil, true},
		{"seven that beat with a shorter TTL", many(7, "b", beats, withTTL(ttl-1)), nil, false},
		{"seven that beat with a longer TTL say nothing yet", many(7, "b", beats, withTTL(ttl+1)), nil, true},
		{"one silent with a longer TTL says nothing yet", append(many(7, "b", beats), holds("i-c", silent(0), withTTL(ttl+1))), nil, false},
		{"one silent with a shorter TTL", append(many(7, "b", beats), holds("i-c", silent(0), withTTL(ttl-1))), nil, true},
		{"seven without a TTL", many(7, "b"), nil, true},
		{"seven stopped", many(7, "b", beats, is(lease.InstanceStopped)), nil, true},
		{"one more, silent and stopped", append(many(7, "b", beats), holds("i-c", silent(0), is(lease.InstanceStopped))), nil, false},
		{"one more, silent and pending", append(many(7, "b", beats), holds("i-c", silent(0), is(lease.InstancePending))), nil, false},
		{"one more, silent and stopping", append(many(7, "b", beats), holds("i-c", silent(0), is(lease.InstanceStopping))), nil, false},
		{"one more, silent and shutting down", append(many(7, "b", beats), holds("i-c", silent(0), is(lease.InstanceShuttingDown))), nil, false},
		{"one more, silent and terminated", append(many(7, "b", beats), holds("i-c", silent(0), is(lease.InstanceTerminated))), nil, false},
		{"one more, silent, in a state that EC2 does not tell", append(many(7, "b", beats), holds("i-c", silent(0), is(""))), nil, true},
		{"one more, silent, and not shown by EC2 any more", append(many(7, "b", beats), holds("i-c", silent(0), missing)), nil, true},
		{"one more, silent, and absent by id", append(many(7, "b", beats), holds("i-c", silent(0), absent)), nil, true},
		{"seven that beat, and are not shown by EC2", many(7, "b", beats, missing), nil, true},
		{"one more, booting", append(many(7, "b", beats), holds("i-c", booting)), nil, false},
		{"one more, booting, and not shown by EC2", append(many(7, "b", beats), holds("i-c", booting, missing)), nil, true},
		{"seven that beat and are exempt", many(7, "b", beats, exempt), nil, true},
		{"seven that beat and are not ours", many(7, "b", beats, foreign), nil, true},
		{"seven that beat and are not those that are bound", many(7, "b", beats, unbound), nil, true},
		{"one more, booting, which has beaten since it started", append(many(7, "b", beats), holds("i-c", booting, withLease(func(l *lease.Lease) { l.ClaimedAt = ago(time.Minute) }))), nil, true},
		{"one more, booting, which has beaten before it started", append(many(7, "b", beats), holds("i-c", booting, withLease(func(l *lease.Lease) { l.ClaimedAt = ago(time.Minute + 1) }))), nil, false},
		{"one more, booting, which was found silent since it started", append(many(7, "b", beats), holds("i-c", booting, marked(lease.CauseSilence, in(4*time.Minute)))), nil, true},
		{"one more, booting, which was found silent before it started", append(many(7, "b", beats), holds("i-c", booting, marked(lease.CauseSilence, in(4*time.Minute-1)))), nil, false},
		{"one more, booting, with notice of its term", append(many(7, "b", beats), holds("i-c", booting, marked(lease.CauseTerm, in(4*time.Minute)))), nil, false},
		{"one more, booting, which this leader has heard since it started", append(many(7, "b", beats), holds("i-c", booting, withSilence(func(s *Silence) { s.Heard = true }))), nil, true},
		{"seven booting", many(7, "b", booting), nil, true},
		{"seven booting that beat", many(7, "b", booting, beats), nil, false},
		{"seven that beat, their term over", many(7, "b", beats, over(time.Minute)), nil, true},
		{"one more, silent, its term over", append(many(7, "b", beats), holds("i-c", silent(0), over(time.Minute))), nil, true},
		{"one more, silent and exempt", append(many(7, "b", beats), holds("i-c", silent(0), exempt)), nil, true},
		{"one more, silent in a place that is not swept", append(many(7, "b", beats), holds("i-c", silent(0), elsewhere)), nil, false},
		{"one revoked for silence within the hour", append(many(7, "b", beats), holds("i-c", silent(0), revoked(lease.CauseSilence, time.Hour-1))), nil, true},
		{"one revoked for never having beaten within the hour", append(many(7, "b", beats), holds("i-c", silent(0), revoked(lease.CauseNeverBeat, time.Minute))), nil, true},
		{"one revoked for silence and terminated within the hour", append(many(7, "b", beats), holds("i-c", silent(0), revoked(lease.CauseSilence, time.Minute), ended(time.Second), missing)), nil, true},
		{"one revoked for silence an hour ago", append(many(7, "b", beats), holds("i-c", silent(0), revoked(lease.CauseSilence, time.Hour))), nil, false},
		{"one released within the hour", append(many(7, "b", beats), holds("i-c", silent(0), revoked(lease.CauseRelease, time.Minute))), nil, false},
		{"one revoked for silence in another zone", append(many(7, "b", beats), holds("i-c", silent(0), inZone("az-x"), revoked(lease.CauseSilence, time.Minute))), nil, true},
		{"one lease that cannot be read", append(many(7, "b", beats), holds("i-c", bare)), with(bad(badLease, "i-c")), true},
		{"one lease that cannot be read, not shown by EC2", many(7, "b", beats), with(bad(badLease, "i-c")), true},
		{"one lease that cannot be read, but beats", append(many(7, "b", beats), holds("i-c", bare)), with(bad(badLease, "i-c"), func(v *View) {
			v.Snapshot.Heartbeats["i-c"] = lease.Heartbeat{Held: true}
		}), false},
		{"one of those that beat has a heartbeat that cannot be read", many(7, "b", beats), with(bad(badHeartbeat, "i-b000")), true},
		{"one more, whose heartbeat cannot be read", many(8, "b", beats), with(bad(badHeartbeat, "i-b000")), true},
		{"a launch that cannot be read", many(7, "b", beats), with(bad("launch", "a-launch")), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := calm(crowd(many(3, "a", due), c.others))
			for _, change := range c.world {
				change(&v)
			}
			ended := 0
			for _, verdict := range decide(v).With(ActEnd) {
				if verdict.InstanceID < "i-b" {
					ended++
				}
			}
			if want := map[bool]int{true: 0, false: 3}[c.held]; ended != want {
				t.Errorf("%d ended, want %d", ended, want)
			}
		})
	}
}

func TestWhileTheSilenceBrakeHoldsNobodyIsMarked(t *testing.T) {
	t.Parallel()
	if n := tally(decide(calm(crowd(many(3, "s", silent(0)), many(6, "b", beats))))); n[ActMark] != 0 || n[ActHold] != 3 {
		t.Errorf("decided %v", n)
	}
	if n := tally(decide(calm(crowd(many(3, "s", silent(0)), many(7, "b", beats))))); n[ActMark] != 3 {
		t.Errorf("decided %v", n)
	}
}

// A person's word about silence holds for two hours. If no sweep came in between, the brake that it lifted is still on the
// last stamp: held again, it can be lifted again.
func TestASilenceBrakeThatWasLiftedCanBeLiftedAgainWhenThatHasRunOut(t *testing.T) {
	t.Parallel()
	v := crowd(many(3, "s", silent(0)), many(6, "b", beats))
	held := decide(v).Brakes
	for n := range held {
		held[n].Since = ago(4 * time.Hour)
	}
	v.Snapshot.Sweep.Brakes, v.Snapshot.Registry = held, v.Snapshot.Registry.Lift(ago(3*time.Hour), lease.BrakeSilence, held, "ada")
	again := decide(v).Brakes
	if able := v.Snapshot.Registry.Stands(again); len(held) == 0 || len(able) != len(held) || !able[0].Since.Equal(noon) {
		t.Errorf("of %v, held again, %v can be lifted", again, able)
	}
}

func TestDeclaredCausesAreNotRationed(t *testing.T) {
	t.Parallel()
	v := crowd(many(100, "t", over(time.Minute)), many(100, "r", revoked(lease.CauseRelease, 0)), many(50, "s", due))
	if n := tally(decide(v)); n[ActEnd] != 200 || n[ActHold] != 50 {
		t.Errorf("decided %v", n)
	}
}

func TestBrakesSayWhyAndSinceWhen(t *testing.T) {
	t.Parallel()
	v := viewOf(holds("i-1", silent(long)))
	unlisted(&v)
	undated(&v)
	ill(&v)
	v.Snapshot.Sweep.Brakes = []lease.Brake{{Name: brakeClock, Scope: here.String(), Since: ago(time.Hour)}, {Name: brakeHealth, Scope: "x", Since: ago(long)}}
	want := []lease.Brake{
		{Name: brakeClock, Scope: here.String(), Since: ago(time.Hour), Reason: "EC2 did not tell its time, so the clock cannot be checked"},
		{Name: brakeHealth, Scope: "", Since: noon, Reason: "alarm NOSPACE"},
		{Name: brakeHealth, Scope: here.String(), Since: noon, Reason: "listing failed: RequestLimitExceeded"},
	}
	plan := decide(v)
	if !slices.Equal(plan.Brakes, want) {
		t.Errorf("brakes %+v", plan.Brakes)
	}
	if len(plan.Acting) != 0 {
		t.Errorf("acting %v where all is held", plan.Acting)
	}
	if plan := decide(viewOf(holds("i-1"))); len(plan.Brakes) != 0 || plan.Acting[here.String()] != ago(long) {
		t.Errorf("brakes %+v, acting %v, though nothing is wrong", plan.Brakes, plan.Acting)
	}
}

func TestAPassWithoutSilenceShowsNoBrakeOfSilence(t *testing.T) {
	t.Parallel()
	v := viewOf(holds("i-1", due))
	v.Policy.NoSilence = true
	ill(&v)
	if plan := decide(v); len(plan.Brakes) != 0 {
		t.Errorf("brakes %+v", plan.Brakes)
	}
}
