package lease_test

import (
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// The brakes that these tests release.
var (
	setBack = lease.Brake{Name: lease.BrakeRollback, Since: noon, Reason: "checkpoint"}
	strange = lease.Brake{Name: lease.BrakeUnwatched, Since: noon, Reason: "age"}
	quiet   = lease.Brake{Name: lease.BrakeHeartbeats, Scope: "euw1-az1", Since: noon, Count: 4}
)

func TestReleasingABrakeReleasesOnlyThatOne(t *testing.T) {
	t.Parallel()
	held := []lease.Brake{setBack, strange, quiet}
	r := lease.NewRegistry(noon, "u", lease.ModeArmed).Lift(noon, lease.BrakeRollback, held, lease.By{Actor: "ada"})
	if got := r.Stands(held); !slices.Equal(got, []lease.Brake{strange, quiet}) {
		t.Errorf("%v engaged, want the other two", got)
	}
	r = r.Lift(noon.Add(time.Minute), lease.BrakeHeartbeats, held, lease.By{Actor: "bob"})
	if got := r.Stands(held); !slices.Equal(got, []lease.Brake{strange}) {
		t.Errorf("%v engaged, want unwatched alone: what was said before of another brake is still said", got)
	}
	if said := r.Resumed; len(said) != 2 || said[0].By != "ada" || said[1].By != "bob" || !said[1].At.Equal(noon.Add(time.Minute)) {
		t.Errorf("resumed %+v", said)
	}
	zone := lease.Brake{Name: lease.BrakeHeartbeats, Scope: "euw1-az2", Since: noon, Count: 5}
	if r = r.Lift(noon.Add(2*time.Minute), lease.BrakeHeartbeats, []lease.Brake{zone}, lease.By{Actor: "bob"}); len(r.Resumed) != 3 {
		t.Errorf("resumed %v, want what was said of the other zone and of the other brake too", r.Resumed)
	}
	if r = r.Lift(noon.Add(3*time.Minute), lease.BrakeHeartbeats, []lease.Brake{zone}, lease.By{Actor: "eve"}); len(r.Resumed) != 3 || r.Resumed[2].By != "eve" {
		t.Errorf("resumed %v, want what was last said of each scope", r.Resumed)
	}
}

func TestABrakeThatHasCountedMoreMustBeReleasedAgain(t *testing.T) {
	t.Parallel()
	r := lease.NewRegistry(noon, "u", lease.ModeArmed).Lift(noon, lease.BrakeHeartbeats, []lease.Brake{quiet}, lease.By{Actor: "ada"})
	more, fewer := quiet, quiet
	more.Count, fewer.Count = quiet.Count+1, quiet.Count-1
	if got := r.Stands([]lease.Brake{more}); len(got) != 1 {
		t.Errorf("%v engaged, want the brake that has counted one more", got)
	}
	if got := r.Stands([]lease.Brake{fewer}); len(got) != 0 {
		t.Errorf("%v engaged, want none: it was released for more than that", got)
	}
}

func TestOnlyTheShownBrakeIsReleased(t *testing.T) {
	t.Parallel()
	r := lease.NewRegistry(noon, "u", lease.ModeArmed).Lift(noon, lease.BrakeRollback, []lease.Brake{setBack}, lease.By{Actor: "ada"})
	later, scoped, other := setBack, setBack, setBack
	later.Since, scoped.Scope, other.Name = noon.Add(time.Millisecond), "i-1", lease.BrakeUnwatched
	for name, b := range map[string]lease.Brake{"one that tripped later": later, "one of another scope": scoped, "another one": other} {
		if len(r.Stands([]lease.Brake{b})) != 1 {
			t.Errorf("%s is released", name)
		}
	}
	abroad := setBack
	abroad.Since, abroad.Reason = noon.In(time.FixedZone("", 3600)), "in other words"
	if len(r.Stands([]lease.Brake{abroad})) != 0 {
		t.Error("the same brake, as another replica reports it, is engaged")
	}
}

func TestAReleaseOfTheHeartbeatsBrakeCountsForItsScopeAndForAWhile(t *testing.T) {
	t.Parallel()
	r := lease.NewRegistry(noon, "u", lease.ModeArmed).Lift(noon, lease.BrakeHeartbeats, []lease.Brake{quiet}, lease.By{Actor: "ada"})
	for name, c := range map[string]struct {
		name, scope string
		now         time.Time
		want        int
	}{
		"then":                {lease.BrakeHeartbeats, "euw1-az1", noon, 4},
		"within the hour":     {lease.BrakeHeartbeats, "euw1-az1", noon.Add(59 * time.Minute), 4},
		"after an hour":       {lease.BrakeHeartbeats, "euw1-az1", noon.Add(time.Hour), 0},
		"by a clock set back": {lease.BrakeHeartbeats, "euw1-az1", noon.Add(-time.Hour), 0},
		"in another zone":     {lease.BrakeHeartbeats, "euw1-az2", noon, 0},
		"everywhere":          {lease.BrakeHeartbeats, "", noon, 0},
		"of another brake":    {lease.BrakeRollback, "euw1-az1", noon, 0},
	} {
		if got := r.Allows(c.name, c.scope, c.now, time.Hour); got != c.want {
			t.Errorf("%s: %d may be lost, want %d", name, got, c.want)
		}
	}
}

func TestOnlyABrakeThatHoldsEverythingBackIsStanding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lease.Brake

		want bool
	}{
		"restored": {setBack, true}, "stranger": {strange, true}, "silence": {quiet, false}, "heartbeats lost everywhere": {lease.Brake{Name: lease.BrakeHeartbeats}, false},
		"rate": {lease.Brake{Name: "rate"}, false},
	} {
		if got := c.Standing(); got != c.want {
			t.Errorf("%s is standing: %t", name, got)
		}
	}
}

func TestALeaseThatCatchesUpIsNewerThanItsSidecarHasSeen(t *testing.T) {
	t.Parallel()
	for seen, want := range map[int64]int64{9: 10, 3: 4, 1: 4} {
		l := lease.Lease{Schema: lease.Schema, InstanceID: "i-1", State: lease.StateActive, Changes: 3}.CatchUp(noon, seen, lease.By{Actor: "ada"})
		if l.Changes != want || len(l.History) != 1 || l.History[0].Actor != "ada" {
			t.Errorf("seen %d: changes %d, want %d; history %+v", seen, l.Changes, want, l.History)
		}
	}
}
