//go:build bench

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"lapse/janitor"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/janitor/plan/plantest"
	"lapse/lease"
)

// measureIdle counts what a sweep asks EC2 when nothing is to be done, beside a region without instances.
func measureIdle(t *testing.T, figures *table, size sizes) {
	t.Helper()
	for _, n := range size.instances {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			w.newFleet(n, never)
			every := 5 * time.Second
			if n > 10_000 {
				every = 20 * time.Second // more would be more than EC2's limits allow
			}
			j := w.janitor("--schedule", "@every "+every.String(), "--region", region, "--region", empty)
			w.until("a second sweep", func() bool { return len(j.sweeps()) > 1 })
			before := w.sim.CallCounts()["DescribeInstances"]
			w.until("a third sweep", func() bool { return len(j.sweeps()) > 2 })
			calls := w.sim.CallCounts()["DescribeInstances"] - before
			figures.atMost(fmt.Sprintf("idle sweep, %d instances: DescribeInstances calls", n), count,
				float64((n+999)/1000), float64(calls), "")
		})
	}
}

// listed is an EC2 that has listed already: what is left to measure is our own.
type listed struct {
	janitor.Cloud
	instances []lease.Instance
}

func (l listed) Location() lease.Location { return l.instances[0].Location }

func (l listed) List(context.Context) (lease.Listing, error) {
	return lease.Listing{Instances: l.instances, Dated: true}, nil
}

// elected is a leadership that was won before.
type elected struct{ janitor.Leadership }

func (elected) Resign(context.Context) error { return nil }

// measureDecision reads, decides and checkpoints, over leases that are all valid and renewed.
func measureDecision(t *testing.T, figures *table, size sizes) {
	t.Helper()
	w := newWorld(t)
	f := w.newFleet(size.decided, never)
	w.heartbeat(f.instances)
	leadership, err := w.store.Campaign(t.Context(), "bench", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	j, err := janitor.New(janitor.Config{
		Campaign: func(context.Context) (janitor.Leadership, error) { return elected{leadership}, nil },
		Clouds:   []janitor.Cloud{listed{instances: f.instances}}, Policy: plan.DefaultPolicy(), Schedule: "@every 1m",
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	computed := processorTime(t)
	for range 5 {
		began := time.Now()
		planned, _, err := j.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		if keep := len(planned.With(plan.ActNone)); keep != size.decided {
			t.Fatalf("of %d leases %d are kept", size.decided, keep)
		}
	}
	figures.atMost(fmt.Sprintf("%d leases and heartbeats read and decided (median of 5)", size.decided), seconds, 2.5, quantile(took, 0.5),
		"Both cores read; what other work leaves of them counts.")
	figures.note("  of processor time, both cores", seconds((processorTime(t)-computed).Seconds()/5))
	figures.atMost(fmt.Sprintf("one decision over %d leases, census included: processor time", size.decided), millis, 100, decides(t, size.decided, 0),
		"It goes over all leases; before they were joined, it took 600 to 810 ms.")
	figures.atMost("  the same, a fifth of them in trouble", millis, 200, decides(t, size.decided, 5), "A sentence is made for each lease that is not simply kept.")
}

// decides is how many milliseconds of processor time one decision takes, as a reaction makes it: over records that are joined
// already, with what was seen of heartbeats, and counted. One lease in so many is in trouble; 0: none.
func decides(t *testing.T, leases, trouble int) float64 {
	t.Helper()
	const times = 20
	v := plantest.Fleet(leases, trouble).View()
	renewals, now := observe.NewRenewals(), time.Now()
	renewals.Observe(now, now, v.Joined)
	runtime.GC()
	computed := processorTime(t)
	for range times {
		renewals.Observe(now, now, v.Joined)
		planned := plan.Decide(v)
		renewals.Held(now, planned.With(plan.ActHold))
		planned.Census(v.Joined, v.Locations)
	}
	return float64((processorTime(t) - computed).Microseconds()) / 1000 / times
}

// processorTime is what this process has computed so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
