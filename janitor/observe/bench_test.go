package observe

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// BenchmarkDecision decides over a hundred thousand leases, as a reaction does: what this leader saw of heartbeats, the
// decision, and the census.
func BenchmarkDecision(b *testing.B) {
	for _, c := range []struct {
		name    string
		trouble int // one in so many is in trouble; 0: none
	}{{"calm", 0}, {"a fifth in trouble", 5}} {
		b.Run(c.name, func(b *testing.B) {
			v := fleet(100_000, c.trouble).View()
			m, now := NewRenewals(), time.Now()
			m.Observe(now, now, v.Joined)
			for b.Loop() {
				m.Observe(now, now, v.Joined)
				planned := plan.Decide(v)
				m.Held(now, planned.With(plan.ActHold))
				planned.Census(v.Joined, v.Locations)
				if did := len(planned.With(plan.ActReport, plan.ActMark, plan.ActEnd, plan.ActHold)); (did > 0) != (c.trouble > 0) {
					b.Fatal(Tally(planned))
				}
			}
		})
	}
}

// BenchmarkJoin is what a sweep does before it decides.
func BenchmarkJoin(b *testing.B) {
	w := fleet(100_000, 0)
	index := plan.Indexed(w.Locations)
	for b.Loop() {
		plan.Join(w.Snapshot, w.Locations, index, nil)
	}
}

// fleet are leases with heartbeats, of which one in so many is in trouble of some kind.
func fleet(n, trouble int) World {
	all := Many(n, "", Heartbeats, func(s *Subject) { s.Lease.HeartbeatTimeout = lease.Duration(5 * time.Minute) })
	if trouble > 0 {
		kinds := []func(*Subject){Silent(0), Due, Over(time.Minute), Missing, Revoked(lease.CauseRelease, time.Hour)}
		for k := 0; k < n; k += trouble {
			kinds[k/trouble%len(kinds)](&all[k])
		}
	}
	slices.SortFunc(all, func(a, b Subject) int { return cmp.Compare(a.Lease.InstanceID, b.Lease.InstanceID) }) // as stores do
	v := WorldOf(all...)
	for n := range 1000 {
		v.Snapshot.Launches = append(v.Snapshot.Launches, Launch(fmt.Sprintf("t%d", n), lease.LaunchDone))
	}
	return v
}
