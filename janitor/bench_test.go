package janitor

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// BenchmarkReaction decides once over a hundred thousand leases that all hold, and beat.
func BenchmarkReaction(b *testing.B) {
	all := many(100_000, "", beats, func(s *subject) {
		s.lease.TTL = lease.Duration(5 * time.Minute)
	})
	slices.SortFunc(all, func(a, b subject) int { return cmp.Compare(a.lease.InstanceID, b.lease.InstanceID) }) // as stores do
	v := viewOf(all...)
	for n := range 1000 {
		v.Snapshot.Launches = append(v.Snapshot.Launches, launch(fmt.Sprintf("t%d", n), lease.LaunchDone))
	}
	v.Snapshot.Heartbeats = map[string]lease.Heartbeat{}
	for _, l := range v.Snapshot.Leases {
		v.Snapshot.Heartbeats[l.InstanceID] = lease.Heartbeat{InstanceID: l.InstanceID, TTL: l.TTL, Held: true}
	}
	v.index = indexed(v.Places)
	now := time.Now()
	mem := newMemory(now)
	for b.Loop() {
		mem.observe(now, now, v.Snapshot, v.index)
		v.Silences = mem.silences(now)
		plan := decide(v)
		mem.held(now, plan.Verdicts)
		if len(plan.With(ActReport, ActMark, ActEnd, ActHold)) != 0 {
			b.Fatal(tally(plan))
		}
	}
}
