//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"lapse/lease"
)

// asked returns when EC2 was first asked to terminate each instance, and by how many calls.
func (w *world) asked() (at map[string]time.Time, calls int) {
	at = map[string]time.Time{}
	for _, c := range w.sim.Calls() {
		if c.Action != "TerminateInstances" {
			continue
		}
		calls++
		for _, id := range c.IDs {
			if _, before := at[id]; !before {
				at[id] = c.Time
			}
		}
	}
	return at, calls
}

// measureTerms lets many terms end at one moment, with a janitor that is not held back by EC2's limits.
func measureTerms(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := newWorld(t)
	end := time.Now().Add(5*time.Second + time.Duration(size.over)*2*time.Millisecond)
	w.newFleet(size.over, func(int) time.Time { return end })
	j := w.janitor("--ec2-unpaced")
	if time.Now().After(end) {
		t.Fatal("the leases had expired before the first sweep")
	}
	var at map[string]time.Time
	var calls int
	w.until("EC2 asked to terminate every instance", func() bool {
		at, calls = w.asked()
		return len(at) == size.over
	})
	last := end
	for _, asked := range at {
		if asked.After(last) {
			last = asked
		}
	}
	what := fmt.Sprintf("%d leases expired, endpoint without limits: ", size.over)
	scale := float64(size.over) / 10_000
	figures.atMost(what+"until the last TerminateInstances", seconds, 5, last.Sub(end).Seconds(),
		"Each lease is revoked by a write of its own, which etcd puts on disk.")
	figures.atMost(what+"memory of the janitor at its highest", mib, 120, j.memory(t, "VmHWM"), "")
	figures.atMost(what+"TerminateInstances calls", count, 250*scale, float64(calls), "")
}

// measureTermEnd spreads the ends of some terms over time, in registries of several sizes.
func measureTermEnd(t *testing.T, figures *table, size sizes) {
	t.Helper()
	for _, n := range size.fleets {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			f := w.newFleet(n, never)
			w.janitor()
			begin := time.Now().Add(10 * time.Second)
			ends := map[string]time.Time{}
			for e := range size.events {
				id := f.instances[e*n/size.events].ID
				ends[id] = begin.Add(size.ending * time.Duration(e) / time.Duration(size.events)).Truncate(time.Millisecond)
				w.shorten(id, ends[id])
			}
			if time.Now().After(begin) {
				t.Fatal("the first leases have expired before they were set")
			}
			var at map[string]time.Time
			w.until("EC2 asked to terminate every instance", func() bool {
				at, _ = w.asked()
				return len(at) == size.events
			})
			var late []time.Duration
			for id, end := range ends {
				late = append(late, at[id].Sub(end))
			}
			figures.atMost(fmt.Sprintf("expiry → TerminateInstances, %d leases, %.0f expire a second: p99", n, float64(size.events)/size.ending.Seconds()), seconds, by(n, 1, 2), quantile(late, 0.99),
				"A decision goes over all leases. Above 2.5 calls a second it waits for EC2's limits.")
			figures.note("  median", seconds(quantile(late, 0.5)))
		})
	}
}

// shorten sets another term.
func (w *world) shorten(id string, until time.Time) {
	w.t.Helper()
	if _, _, err := w.store.UpdateLease(w.t.Context(), id, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: until, AllowShorten: true}, lease.By{Actor: "cli:bench"})
	}); err != nil {
		w.t.Fatal(err)
	}
}

// measureGone takes away heartbeats one by one. The janitor has noticed when it has marked the lease.
func measureGone(t *testing.T, figures *table, size sizes) {
	t.Helper()
	for _, n := range size.fleets {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			f := w.newFleet(n, never)
			// As many as the brakes let pass: a twentieth of the healthy may be marked within a while.
			events := min(size.events, n/50)
			w.heartbeat(f.instances[events:])
			claims := w.claim(f.instances[:events])
			w.janitor()
			gone := make([]time.Time, events)
			for e, claim := range claims {
				time.Sleep(size.spread / time.Duration(events))
				w.drop(claim)
				gone[e] = time.Now()
			}
			var late []time.Duration
			for e := range gone {
				var l lease.Lease
				w.until("a mark for each", func() bool {
					var err error
					if l, err = w.store.Lease(t.Context(), f.instances[e].ID); err != nil {
						t.Fatal(err)
					}
					return l.Mark != nil
				})
				late = append(late, l.Mark.Since.Sub(gone[e]))
			}
			figures.atMost(fmt.Sprintf("heartbeat key gone → marked, %d leases: p99", n), seconds, by(n, 0.5, 1), quantile(late, 0.99),
				"Decisions rest as long as one takes, and while a sweep reads and joins all records, the cores are busy.")
			figures.note("  median", seconds(quantile(late, 0.5)))
		})
	}
}
