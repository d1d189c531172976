package enforce

import (
	"testing"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// TestAMarkGivesItsWholeNotice writes marks that were decided on some time ago: what came before them waited for EC2.
func TestAMarkGivesItsWholeNotice(t *testing.T) {
	t.Parallel()
	for waited, least := range map[time.Duration]bool{0: true, time.Minute: true, -time.Hour: false} {
		r := newRig(t, "i-1")
		a := r.armed()
		marked := r.lease("i-1")
		decided := a.Date().Add(-waited)
		report := a.recordAll(t.Context(), r.reg, []plan.Verdict{{
			Action: plan.ActMark, InstanceID: "i-1", Lease: &marked, Cause: lease.CauseExpired, Deadline: decided.Add(a.Policy.MarkGrace), Reason: "test",
		}})
		mark := r.lease("i-1").Mark
		if report.Marked != 1 || mark == nil {
			t.Fatalf("%+v, %+v", report, mark)
		}
		notice := mark.Deadline.Sub(mark.Since)
		if notice < a.Policy.MarkGrace-time.Millisecond || least && notice > a.Policy.MarkGrace+time.Second {
			t.Errorf("decided %s before: a notice of %s, want %s", waited, notice, a.Policy.MarkGrace)
		}
	}
}
