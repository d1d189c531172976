package plan_test

import (
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

func TestRate(t *testing.T) {
	t.Parallel()
	ten := 10 * time.Minute
	gone := func(n int, cause lease.Cause, d time.Duration) []Subject {
		return Many(n, "g", Revoked(cause, d), Ended(d), Missing)
	}
	for _, c := range []struct {
		name    string
		fleet   [][]Subject
		world   []func(*World)
		ends    int
		orphans int
		marks   int
	}{
		{"five lost ones are terminated", [][]Subject{Many(5, "s", Due)}, nil, 5, 0, 0},
		{"of six lost ones five are terminated", [][]Subject{Many(6, "s", Due)}, nil, 5, 0, 0},
		{"five failed launches end", nil, with(Orphans("l", 5, 1)), 0, 5, 0},
		{"of six failed launches five are terminated", nil, with(Orphans("l", 6, 1)), 0, 5, 0},
		{"a failed launch counts once, whatever it left", nil, with(Orphans("l", 5, 20)), 0, 100, 0},
		{"launches and lost heartbeats count together", [][]Subject{Many(5, "s", Due)}, with(Orphans("l", 2, 3)), 3, 6, 0},
		{"119 healthy ones: five", [][]Subject{Many(6, "s", Due), Many(119, "h")}, nil, 5, 0, 0},
		{"120 healthy ones: six, which is 5 %", [][]Subject{Many(6, "s", Due), Many(120, "h")}, nil, 6, 0, 0},
		{"120 that renew: six", [][]Subject{Many(6, "s", Due), Many(120, "h", Heartbeats)}, nil, 6, 0, 0},
		{"120 stopped ones: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Is(lease.InstanceStopped))}, nil, 5, 0, 0},
		{"120 that are not shown: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Missing)}, nil, 5, 0, 0},
		{"120 revoked ones: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Revoked(lease.CauseRelease, 0))}, nil, 5, 0, 0},
		{"120 that have expired: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Over(time.Minute))}, with(Skewed(time.Hour)), 5, 0, 0},
		{"120 exempt ones: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Exempt)}, nil, 5, 0, 0},
		{"120 that are not ours: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Foreign)}, nil, 5, 0, 0},
		{"120 that are not those that are bound: five", [][]Subject{Many(6, "s", Due), Many(120, "h", Heartbeats, Unbound)}, nil, 5, 0, 0},
		{"120 being adopted: five", [][]Subject{Many(6, "s", Due), Many(120, "h", WithLease(func(l *lease.Lease) { l.State = lease.StateAdopting }))}, nil, 5, 0, 0},
		{"120 lost ones raise no limit", [][]Subject{Many(126, "s", Due)}, nil, 5, 0, 0},
		{"five terminated for a lost heartbeat in the last ten minutes, by whomever", [][]Subject{Many(1, "s", Due), gone(5, lease.CauseHeartbeatLost, ten-1)}, nil, 0, 0, 0},
		{"five terminated for having no heartbeat in the last ten minutes", [][]Subject{Many(1, "s", Due), gone(5, lease.CauseNoHeartbeat, ten-1)}, nil, 0, 0, 0},
		{"four terminated in the last ten minutes", [][]Subject{Many(3, "s", Due), gone(4, lease.CauseHeartbeatLost, ten-1)}, nil, 1, 0, 0},
		{"five terminated ten minutes ago", [][]Subject{Many(5, "s", Due), gone(5, lease.CauseHeartbeatLost, ten)}, nil, 5, 0, 0},
		{"five terminated with a date to come: counted", [][]Subject{Many(1, "s", Due), gone(5, lease.CauseHeartbeatLost, -time.Minute)}, nil, 0, 0, 0},
		{"declared terminations are not counted", [][]Subject{Many(5, "s", Due), gone(50, lease.CauseExpired, 0)}, nil, 5, 0, 0},
		{"losses terminated count against orphans", [][]Subject{gone(5, lease.CauseHeartbeatLost, 0)}, with(Orphans("l", 1, 1)), 0, 0, 0},
		{"a launch of which some were terminated is not counted again", [][]Subject{gone(4, lease.CauseHeartbeatLost, 0), {Failed("i-f", "l000", 0)}}, with(Orphans("l", 1, 9)), 0, 9, 0},
		{"nor does it go on if too much else was terminated", [][]Subject{gone(5, lease.CauseHeartbeatLost, 0), {Failed("i-f", "l000", 0)}}, with(Orphans("l", 1, 9)), 0, 0, 0},
		{"a launch of which some were terminated ten minutes ago is counted again", [][]Subject{gone(5, lease.CauseHeartbeatLost, 0), {Failed("i-f", "l000", ten)}}, with(Orphans("l", 1, 9)), 0, 0, 0},
		{"two leases of one failed launch count once", [][]Subject{Many(4, "s", Due), {Failed("i-f", "x", 0), Failed("i-g", "x", 0)}}, nil, 4, 0, 0},
		{"a lease that cannot be read may have been terminated just now", [][]Subject{Many(5, "s", Due)}, with(Bad(plan.BadLease, "i-x")), 4, 0, 0},
		{"but launches go on beside it", nil, with(Bad(plan.BadLease, "i-x"), Orphans("l", 5, 1)), 0, 5, 0},
		{"a heartbeat that cannot be read terminated nothing", [][]Subject{Many(5, "s", Due)}, with(Bad(plan.BadHeartbeat, "i-x")), 5, 0, 0},
		{"five marks at once", [][]Subject{Many(6, "s", Lost(0))}, nil, 0, 0, 5},
		{"four marks in the last ten minutes: one more", [][]Subject{Many(6, "s", Lost(0)), Many(4, "m", Lost(0), Marked(lease.CauseHeartbeatLost, Ago(5*time.Minute-1)))}, nil, 0, 0, 1},
		{"marks of ten minutes ago", [][]Subject{Many(5, "s", Lost(0)), Many(4, "m", Lost(0), Marked(lease.CauseHeartbeatLost, Ago(5*time.Minute)))}, nil, 0, 0, 5},
		{"marks for an expiry are not paced", [][]Subject{Many(20, "t", Over(time.Hour))}, with(EnforcingFor(time.Minute)), 0, 0, 20},
		{"marks and terminations are counted apart", [][]Subject{Many(5, "s", Lost(0)), Many(5, "e", Due)}, nil, 5, 0, 5},
		{"no mark while the rate brake holds terminations back", [][]Subject{Many(5, "s", Lost(0)), Many(6, "e", Due)}, nil, 5, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := crowd(c.fleet...)
			v.Policy.LostMin = 1000
			for _, change := range c.world {
				change(&v)
			}
			planned := Decide(v)
			n := Tally(planned)
			ends := 0
			for _, verdict := range planned.With(plan.ActTerminate) {
				if verdict.Cause.Inferred() {
					ends++
				}
			}
			if ends != c.ends || n[plan.ActOrphan] != c.orphans || n[plan.ActMark] != c.marks {
				t.Errorf("%d terminated for a lost heartbeat, %d orphans, %d marked; want %d, %d, %d", ends, n[plan.ActOrphan], n[plan.ActMark], c.ends, c.orphans, c.marks)
			}
		})
	}
}

func TestTheRateBrakeIsVisible(t *testing.T) {
	t.Parallel()
	v := crowd(Many(6, "s", Due))
	v.Policy.LostMin = 1000
	planned := Decide(v)
	held := planned.With(plan.ActHold)
	if len(held) != 1 || held[0].InstanceID != "i-s005" || held[0].Brake != plan.BrakeRate {
		t.Errorf("engaged %+v", held)
	}
	if !HeldBy(planned, plan.BrakeRate, "") || !planned.Next.Equal(In(time.Minute)) {
		t.Errorf("brakes %+v, next at %s", planned.Brakes, planned.Next)
	}
	v = crowd(Many(5, "s", Due))
	v.Policy.LostMin = 1000
	if planned := Decide(v); len(planned.Brakes) != 0 {
		t.Errorf("brakes %+v at the limit", planned.Brakes)
	}
}

func TestOneMoreOrphanOfALaunchTerminatesNothingElseSooner(t *testing.T) {
	t.Parallel()
	for each := range 3 {
		v := crowd(Many(5, "s", Due)) // with what the launch left, one too many for the rate
		v.Policy.LostMin = 1000
		Orphans("l", 1, each+1)(&v)
		n := Tally(Decide(v))
		if n[plan.ActOrphan] != each+1 || n[plan.ActTerminate] != 4 {
			t.Errorf("of %d orphans of one launch and 5 losses: %v", each+1, n)
		}
	}
}

func TestRetriesAreNotLimited(t *testing.T) {
	t.Parallel()
	v := crowd(Many(50, "r", Revoked(lease.CauseHeartbeatLost, time.Minute)), Many(50, "f", Revoked(lease.CauseFailedCreation, time.Minute)))
	if n := Tally(Decide(v)); n[plan.ActTerminate] != 100 {
		t.Errorf("decided %v", n)
	}
}
