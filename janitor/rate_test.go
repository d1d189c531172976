package janitor

import (
	"fmt"
	"testing"
	"time"

	"lapse/lease"
)

// orphans puts n orphans into the view, one or several to a launch, and ripe.
func orphans(prefix string, tokens, each int) func(*View) {
	return func(v *View) {
		for k := range tokens {
			token := fmt.Sprintf("%s%03d", prefix, k)
			l := launch(token, lease.LaunchClosed)
			l.Looks = map[string]time.Time{}
			for n := range each {
				s := holds(fmt.Sprintf("i-%s-%03d", token, n), bare)
				s.instance.ClientToken, s.instance.Tags[lease.TagLaunch] = token+".1", token+".1"
				l.Looks[s.instance.ID] = ago(time.Hour)
				v.add(s)
			}
			v.Snapshot.Launches = append(v.Snapshot.Launches, l)
		}
	}
}

// failed is a lease of what a launch left, revoked and terminated so long ago.
func failed(id, token string, d time.Duration) subject {
	return holds(id, revoked(lease.CauseFailedCreation, d), ended(d), missing, withLease(func(l *lease.Lease) { l.Launch = token }))
}

func TestRate(t *testing.T) {
	t.Parallel()
	ten := 10 * time.Minute
	gone := func(n int, cause lease.Cause, d time.Duration) []subject {
		return many(n, "g", revoked(cause, d), ended(d), missing)
	}
	for _, c := range []struct {
		name    string
		fleet   [][]subject
		world   []func(*View)
		ends    int
		orphans int
		marks   int
	}{
		{"five silent ones end", [][]subject{many(5, "s", due)}, nil, 5, 0, 0},
		{"of six silent ones five end", [][]subject{many(6, "s", due)}, nil, 5, 0, 0},
		{"five failed launches end", nil, with(orphans("l", 5, 1)), 0, 5, 0},
		{"of six failed launches five end", nil, with(orphans("l", 6, 1)), 0, 5, 0},
		{"a failed launch counts once, whatever it left", nil, with(orphans("l", 5, 20)), 0, 100, 0},
		{"launches and silences count together", [][]subject{many(5, "s", due)}, with(orphans("l", 2, 3)), 3, 6, 0},
		{"119 healthy ones: five", [][]subject{many(6, "s", due), many(119, "h")}, nil, 5, 0, 0},
		{"120 healthy ones: six, which is 5 %", [][]subject{many(6, "s", due), many(120, "h")}, nil, 6, 0, 0},
		{"120 that beat: six", [][]subject{many(6, "s", due), many(120, "h", beats)}, nil, 6, 0, 0},
		{"120 stopped ones: five", [][]subject{many(6, "s", due), many(120, "h", is(lease.InstanceStopped))}, nil, 5, 0, 0},
		{"120 that are not shown: five", [][]subject{many(6, "s", due), many(120, "h", missing)}, nil, 5, 0, 0},
		{"120 revoked ones: five", [][]subject{many(6, "s", due), many(120, "h", revoked(lease.CauseRelease, 0))}, nil, 5, 0, 0},
		{"120 whose term is over: five", [][]subject{many(6, "s", due), many(120, "h", over(time.Minute))}, with(skewed(time.Hour)), 5, 0, 0},
		{"120 exempt ones: five", [][]subject{many(6, "s", due), many(120, "h", exempt)}, nil, 5, 0, 0},
		{"120 that are not ours: five", [][]subject{many(6, "s", due), many(120, "h", foreign)}, nil, 5, 0, 0},
		{"120 that are not those that are bound: five", [][]subject{many(6, "s", due), many(120, "h", beats, unbound)}, nil, 5, 0, 0},
		{"120 being adopted: five", [][]subject{many(6, "s", due), many(120, "h", withLease(func(l *lease.Lease) { l.State = lease.StateAdopting }))}, nil, 5, 0, 0},
		{"120 silent ones raise no limit", [][]subject{many(126, "s", due)}, nil, 5, 0, 0},
		{"five ended for silence in the last ten minutes, by whomever", [][]subject{many(1, "s", due), gone(5, lease.CauseSilence, ten-1)}, nil, 0, 0, 0},
		{"five ended for never having beaten in the last ten minutes", [][]subject{many(1, "s", due), gone(5, lease.CauseNeverBeat, ten-1)}, nil, 0, 0, 0},
		{"four ended in the last ten minutes", [][]subject{many(3, "s", due), gone(4, lease.CauseSilence, ten-1)}, nil, 1, 0, 0},
		{"five ended ten minutes ago", [][]subject{many(5, "s", due), gone(5, lease.CauseSilence, ten)}, nil, 5, 0, 0},
		{"five ended with a date to come: counted", [][]subject{many(1, "s", due), gone(5, lease.CauseSilence, -time.Minute)}, nil, 0, 0, 0},
		{"declared ends are not counted", [][]subject{many(5, "s", due), gone(50, lease.CauseTerm, 0)}, nil, 5, 0, 0},
		{"silences ended count against orphans", [][]subject{gone(5, lease.CauseSilence, 0)}, with(orphans("l", 1, 1)), 0, 0, 0},
		{"a launch of which some were ended is not counted again", [][]subject{gone(4, lease.CauseSilence, 0), {failed("i-f", "l000", 0)}}, with(orphans("l", 1, 9)), 0, 9, 0},
		{"nor does it go on if too much else was ended", [][]subject{gone(5, lease.CauseSilence, 0), {failed("i-f", "l000", 0)}}, with(orphans("l", 1, 9)), 0, 0, 0},
		{"a launch of which some were ended ten minutes ago is counted again", [][]subject{gone(5, lease.CauseSilence, 0), {failed("i-f", "l000", ten)}}, with(orphans("l", 1, 9)), 0, 0, 0},
		{"two leases of one failed launch count once", [][]subject{many(4, "s", due), {failed("i-f", "x", 0), failed("i-g", "x", 0)}}, nil, 4, 0, 0},
		{"a lease that cannot be read may have been ended just now", [][]subject{many(5, "s", due)}, with(bad(badLease, "i-x")), 4, 0, 0},
		{"but launches go on beside it", nil, with(bad(badLease, "i-x"), orphans("l", 5, 1)), 0, 5, 0},
		{"a heartbeat that cannot be read ended nothing", [][]subject{many(5, "s", due)}, with(bad(badHeartbeat, "i-x")), 5, 0, 0},
		{"five marks at once", [][]subject{many(6, "s", silent(0))}, nil, 0, 0, 5},
		{"four marks in the last ten minutes: one more", [][]subject{many(6, "s", silent(0)), many(4, "m", silent(0), marked(lease.CauseSilence, ago(5*time.Minute-1)))}, nil, 0, 0, 1},
		{"marks of ten minutes ago", [][]subject{many(5, "s", silent(0)), many(4, "m", silent(0), marked(lease.CauseSilence, ago(5*time.Minute)))}, nil, 0, 0, 5},
		{"marks for a term are not paced", [][]subject{many(20, "t", over(time.Hour))}, with(actingFor(time.Minute)), 0, 0, 20},
		{"marks and ends are counted apart", [][]subject{many(5, "s", silent(0)), many(5, "e", due)}, nil, 5, 0, 5},
		{"no mark while the rate brake holds ends", [][]subject{many(5, "s", silent(0)), many(6, "e", due)}, nil, 5, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := crowd(c.fleet...)
			v.Policy.SilentMin = 1000
			for _, change := range c.world {
				change(&v)
			}
			plan := decide(v)
			n := tally(plan)
			ends := 0
			for _, verdict := range plan.With(ActEnd) {
				if verdict.Cause.Inferred() {
					ends++
				}
			}
			if ends != c.ends || n[ActOrphan] != c.orphans || n[ActMark] != c.marks {
				t.Errorf("%d ended for silence, %d orphans, %d marked; want %d, %d, %d", ends, n[ActOrphan], n[ActMark], c.ends, c.orphans, c.marks)
			}
		})
	}
}

func TestRateHoldsVisibly(t *testing.T) {
	t.Parallel()
	v := crowd(many(6, "s", due))
	v.Policy.SilentMin = 1000
	plan := decide(v)
	held := plan.With(ActHold)
	if len(held) != 1 || held[0].InstanceID != "i-s005" || held[0].Brake != brakeRate {
		t.Errorf("held %+v", held)
	}
	if !heldBy(plan, brakeRate, "") || !plan.Next.Equal(in(time.Minute)) {
		t.Errorf("brakes %+v, next at %s", plan.Brakes, plan.Next)
	}
	v = crowd(many(5, "s", due))
	v.Policy.SilentMin = 1000
	if plan := decide(v); len(plan.Brakes) != 0 {
		t.Errorf("brakes %+v at the limit", plan.Brakes)
	}
}

func TestOneMoreOrphanOfALaunchEndsNothingElseSooner(t *testing.T) {
	t.Parallel()
	for each := range 3 {
		v := crowd(many(5, "s", due)) // with what the launch left, one too many for the rate
		v.Policy.SilentMin = 1000
		orphans("l", 1, each+1)(&v)
		n := tally(decide(v))
		if n[ActOrphan] != each+1 || n[ActEnd] != 4 {
			t.Errorf("of %d orphans of one launch and 5 silences: %v", each+1, n)
		}
	}
}

func TestRetriesAreNotRationed(t *testing.T) {
	t.Parallel()
	v := crowd(many(50, "r", revoked(lease.CauseSilence, time.Minute)), many(50, "f", revoked(lease.CauseFailedCreation, time.Minute)))
	if n := tally(decide(v)); n[ActEnd] != 100 {
		t.Errorf("decided %v", n)
	}
}
