package observe

import (
	"testing"
	"time"

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
			v := Fleet(100_000, c.trouble).View()
			m, now := NewRenewals(), time.Now()
			m.Observe(now, now, v.Joined)
			for b.Loop() {
				m.Observe(now, now, v.Joined)
				planned := plan.Decide(v)
				m.Held(now, planned.With(plan.ActHold))
				planned.Census(v.Joined, v.Locations)
				if did := len(planned.With(plan.ActReport, plan.ActMark, plan.ActTerminate, plan.ActHold)); (did > 0) != (c.trouble > 0) {
					b.Fatal(Tally(planned))
				}
			}
		})
	}
}

// BenchmarkJoin is what a sweep does before it decides.
func BenchmarkJoin(b *testing.B) {
	w := Fleet(100_000, 0)
	index := plan.Indexed(w.Locations)
	for b.Loop() {
		plan.Join(w.Snapshot, w.Locations, index, nil)
	}
}
