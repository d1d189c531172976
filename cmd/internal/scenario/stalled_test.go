//go:build e2e

package scenario

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// TestE2EScenarioStalledEtcd stops a whole etcd for three times the timeout of 1,000 healthy leases. On waking it
// deletes all their heartbeats at once, and their sidecars claim them again.
func TestE2EScenarioStalledEtcd(t *testing.T) {
	// Not beside the others: 1,000 sidecars in one process need the machine, and, to come back, a longer notice.
	const notice = 2 * heartbeatTimeout
	w := newWorld(t)
	ids := w.launch(1000, kind{heartbeatTimeout: heartbeatTimeout})
	w.heartbeat(ids...)
	j := w.janitor("--mark-grace", notice.String(), "--lone-grace", notice.String())
	deletions := w.lapses()

	resume := w.suspend(w.server)
	stopped := time.Now()
	_, said := w.status()
	if !strings.Contains(said, "no etcd answers at unix://") || !strings.Contains(said, "check ") {
		t.Errorf("of an etcd that does not answer, `janitor status` says %q", said)
	}
	t.Log("while it was stopped: " + strings.TrimSpace(said))
	time.Sleep(4*heartbeatTimeout - time.Since(stopped)) // what is tested is that so much time passes: longer than an election holds
	watched := w.watch()
	resume()
	woke := time.Now()
	w.until("etcd deleting heartbeats", func() bool { return deletions() >= len(ids)/2 })
	w.until("all sidecars renewing again", func() bool { return w.renewing(ids) == len(ids) })
	back := time.Since(woke)
	time.Sleep(time.Until(woke.Add(heartbeatTimeout + notice + 2*time.Second))) // by now, instances whose heartbeats were lost since then would have been terminated
	w.moreSweeps(2)
	seen := watched()
	t.Logf("stopped for %s; %d heartbeats were deleted, all were back after %s; `janitor status` named: %q",
		woke.Sub(stopped).Round(time.Millisecond), deletions(), back.Round(time.Millisecond), seen)
	w.nobodyDied()
	if !slices.ContainsFunc(seen, func(line string) bool {
		return strings.HasPrefix(line, lease.BrakeHeartbeats) || strings.HasPrefix(line, "health")
	}) {
		t.Errorf("`janitor status` never named a brake: %q", seen)
	}
	if len(j.said(`msg="brake engaged"`)) == 0 && len(j.said("starting up")) < 2 { // whoever leads then has seen no heartbeat yet
		t.Error("neither a brake was logged nor another start")
	}
}

// lapses counts the heartbeats that etcd deletes from now on.
func (w *world) lapses() (count func() int) {
	w.t.Helper()
	gone := make(chan int, 1)
	gone <- 0
	changes := w.store.Watch(w.t.Context(), w.snapshot())
	go func() {
		for change := range changes {
			if change.Lapsed != "" {
				gone <- 1 + <-gone
			}
		}
	}()
	return func() int {
		n := <-gone
		gone <- n
		return n
	}
}
