package observe

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// TestALossNeverCountsFromBeforeTheLastRestartOfItsTimer: whatever happens in whatever order, a loss is no longer than
// the time since the key was last there, since the leadership was taken, and since anything restarted the timer.
func TestALossNeverCountsFromBeforeTheLastRestartOfItsTimer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w, latest := watch(t), Noon
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			w.now = w.now.Add(Pick(r, "passed", time.Second, minute, time.Hour))
			event := Pick(r, "event", "nothing", "beats", "lapses", "cured", "term", "ill", "held", "stopped", "running", "started")
			switch event {
			case "beats":
				w.heartbeats("i-1")
			case "lapses":
				w.lapses("i-1")
			case "cured":
				w.lease("i-1", func(l *lease.Lease) { l.CuredAt = w.now })
			case "term":
				w.state.Term++
			case "ill":
				w.m.Restart(w.now)
			case "held":
				w.m.Held(w.now, []plan.Verdict{{InstanceID: "i-1", Action: plan.ActHold, Brake: plan.BrakeHealth}})
			case "stopped":
				w.turns(lease.InstanceStopped)
			case "running":
				w.turns(lease.InstanceRunning)
			case "started":
				w.instance("i-1", func(i *lease.Instance) { i.LaunchTime = w.now })
			}
			w.observe(rapid.Bool().Draw(r, "fresh"))
			if there := w.state.Heartbeats["i-1"].Held; there || event != "nothing" && event != "lapses" && event != "running" {
				latest = w.now
			}
			s := w.renewal("i-1")
			if w.state.Heartbeats["i-1"].Held != s.Present || !s.Present && s.For > w.now.Sub(latest) {
				r.Fatalf("after %s: %+v, but the last cause was %s ago", event, s, w.now.Sub(latest))
			}
		}
	})
}
