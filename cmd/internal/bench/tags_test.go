//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

// hourly is how often somebody extends one of 10,000 leases, each of which is extended once an hour.
const hourly = time.Hour / 10_000

// measureTags counts the tags that an idle sweep writes, and measures how long the tag of an instance is behind its lease
// when leases are extended, one after the other. Dates are under an hour ahead, so that no tag may wait. EC2 has its
// token buckets, and its clock and ours are real: few of the leases are extended while this looks, at the true rate.
func measureTags(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := simWorld(t, ec2sim.Config{Throttle: true})
	w.startEtcd()
	f := w.newFleet(size.tagged, func(int) time.Time { return time.Now().Add(50 * time.Minute) })
	j := w.janitor("--schedule", size.schedule)
	w.until("a third sweep", func() bool { return len(j.sweeps()) > 2 })
	figures.atMost(fmt.Sprintf("idle sweep, %d instances: CreateTags calls", size.tagged), count, 0, float64(w.sim.CallCounts()["CreateTags"]), "")

	extended := map[string]time.Time{}
	began := time.Now()
	for n := 0; n < len(f.instances) && time.Since(began) < size.extending; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * hourly)))
		id := f.instances[n*7919%len(f.instances)].ID // all over the fleet: 7919 is prime
		w.extend(id, time.Now().Add(58*time.Minute))
		extended[id] = time.Now()
	}
	var at map[string]time.Time
	w.until("every tag written", func() bool {
		at = w.tagged()
		return len(at) == len(extended)
	})
	var late []time.Duration
	for id, since := range extended {
		late = append(late, at[id].Sub(since))
	}
	what := fmt.Sprintf("tag behind its record, %d leases, one extended every %s: ", size.tagged, hourly)
	figures.atMost(what+"p99", seconds, 60, quantile(late, 0.99), "A decision goes over all leases.")
	figures.note("  median", seconds(quantile(late, 0.5)))
	figures.note(fmt.Sprintf("  CreateTags calls for %d extensions", len(extended)), count(float64(w.sim.CallCounts()["CreateTags"])))
}

// extend moves a date.
func (w *world) extend(id string, until time.Time) {
	w.t.Helper()
	if _, _, err := w.store.UpdateLease(w.t.Context(), id, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: until}, lease.By{Actor: "cli:bench"})
	}); err != nil {
		w.t.Fatal(err)
	}
}

// tagged returns when EC2 took the first tag of each instance.
func (w *world) tagged() map[string]time.Time {
	at := map[string]time.Time{}
	for _, c := range w.sim.Calls() {
		if c.Action != "CreateTags" || c.Code != "" || c.Status != 200 {
			continue
		}
		for _, id := range c.IDs {
			if _, before := at[id]; !before {
				at[id] = c.Time
			}
		}
	}
	return at
}
