package janitor

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

// BenchmarkReaction decides once over a hundred thousand leases that all hold, and beat.
func BenchmarkReaction(b *testing.B) {
	all := Many(100_000, "", Heartbeats, func(s *Subject) {
		s.Lease.HeartbeatTimeout = lease.Duration(5 * time.Minute)
	})
	slices.SortFunc(all, func(a, b Subject) int { return cmp.Compare(a.Lease.InstanceID, b.Lease.InstanceID) }) // as stores do
	v := ViewOf(all...)
	for n := range 1000 {
		v.Snapshot.Launches = append(v.Snapshot.Launches, Launch(fmt.Sprintf("t%d", n), lease.LaunchDone))
	}
	v.Snapshot.Heartbeats = map[string]lease.Heartbeat{}
	for _, l := range v.Snapshot.Leases {
		v.Snapshot.Heartbeats[l.InstanceID] = lease.Heartbeat{InstanceID: l.InstanceID, HeartbeatTimeout: l.HeartbeatTimeout, Held: true}
	}
	v.Index = plan.Indexed(v.Locations)
	now := time.Now()
	mem := newMemory(now)
	for b.Loop() {
		mem.observe(now, now, v.Snapshot, v.Index)
		v.Silences = mem.silences(now)
		planned := plan.Decide(v)
		mem.held(now, planned.Verdicts)
		if len(planned.With(plan.ActReport, plan.ActMark, plan.ActEnd, plan.ActHold)) != 0 {
			b.Fatal(Tally(planned))
		}
	}
}
