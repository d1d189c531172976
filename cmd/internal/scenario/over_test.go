//go:build e2e

package scenario

import (
	"maps"
	"slices"
	"testing"
	"time"

	"lapse/lease"
)

// TestE2EScenarioManyExpired lets the terms of 2,000 leases be over at once, beside 200 whose terms are not. EC2 limits no
// requests here, as the "about 1 second" of deploy/contract.md has it: with EC2's own limits, 500 go at once and 10 a second after that.
func TestE2EScenarioManyExpired(t *testing.T) {
	t.Parallel()
	const most = 2*time.Second + slow
	w := newWorld(t)
	w.janitor("--ec2-unpaced")
	began := time.Now()
	w.launch(200, kind{})
	end := time.Now().Add(3*time.Second + 30*time.Since(began)) // three times what it should take
	over := w.launch(2000, kind{term: time.Until(end)})
	if time.Now().After(end) {
		t.Fatal("the leases had expired before all were launched")
	}
	w.until("EC2 asked to terminate 2,000", func() bool { return len(w.asked()) >= len(over) })
	asked := slices.SortedFunc(maps.Values(w.asked()), time.Time.Compare)
	first, last := asked[0].Sub(end), asked[len(asked)-1].Sub(end)
	t.Logf("2,000 leases expired at once: the first termination was requested after %s, the last after %s, by %d calls",
		first.Round(time.Millisecond), last.Round(time.Millisecond), w.sim.CallCounts()["TerminateInstances"])
	if first < -time.Millisecond { // dates on records are rounded down to that
		t.Errorf("the first termination was requested %s before its expiry", -first)
	}
	if last > most {
		t.Errorf("the last termination was requested %s after its expiry, more than %s", last, most)
	}
	w.until("2,000 ended in the records", func() bool {
		n := 0
		for _, l := range w.snapshot().Leases {
			if l.State == lease.StateEnded && l.Cause == lease.CauseExpired {
				n++
			}
		}
		return n == len(over)
	})
	w.onlyDied(over)
}
