//go:build e2e

package scenario

import (
	"testing"
	"time"
)

// TestE2EScenarioSuspended stops a janitor for longer than anything that it waits for, as a machine that is suspended, or a
// virtual one that is paused: alone, and with the etcd inside it, which on waking deletes all heartbeats.
func TestE2EScenarioSuspended(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]bool{"alone": false, "with its etcd inside": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := emptyWorld(t)
			args := []string{"--lone-grace", markGrace.String()}
			var j *process
			if inside {
				j = w.candidate(append(args, "--embedded-etcd", w.dir, "--arm")...)
				w.connect()
			} else {
				w.startEtcd()
				w.connect()
				w.run("lease", "init", "--armed")
				j = w.candidate(args...)
			}
			w.until("a first sweep", func() bool { return len(j.said("msg=swept")) > 0 })
			ids := w.launch(60, kind{heartbeatTimeout: heartbeatTimeout})
			w.launch(30, kind{})
			w.heartbeat(ids...)
			w.moreSweeps(2)
			deletions := w.lapses()

			const away = 18 * time.Second // a leadership ends after 15 s
			resume := w.suspend(j)
			time.Sleep(away)
			watched := w.watch()
			resume()
			w.longEnough()
			seen := watched()
			t.Logf("suspended for %s; %d heartbeats were deleted; `janitor status` named: %q", away, deletions(), seen)
			w.nobodyDied()
			// The status shows it until the next sweep, a second later, which a busy machine may not see.
			if said := j.said("starting up"); len(said) < 2 {
				t.Errorf("the log says that a leader starts up in %q, want it at the start, and after waking", said)
			}
			w.until("all sidecars renewing", func() bool { return w.renewing(ids) == len(ids) })
		})
	}
}
