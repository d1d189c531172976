package observe

import (
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

func TestTheHeartbeatTimerRestartsWhenABrakeIsReleased(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Lost(2*time.Minute), Marked(lease.CauseHeartbeatLost, In(3*time.Minute))), Holds("i-2", Heartbeats))
	if got, _ := RulingOn(t, v, "i-1"); got.Action != plan.ActNone {
		t.Fatalf("%v: the test shows nothing", got)
	}
	v.Standing = []lease.Brake{{Name: lease.BrakeUnwatched, Since: Ago(time.Hour), Reason: "then"}}
	planned := Decide(v)
	m, j := NewRenewals(), v.View().Joined
	m.Observe(Noon, time.Time{}, j)
	later := Noon.Add(2 * time.Minute)
	m.Held(later, planned.Verdicts)
	m.Observe(later, time.Time{}, j)
	if s := j.Row("i-1").Renewal; s.For != 0 {
		t.Errorf("lost for %s when the brake is released, and ended that much sooner", s.For)
	}
}
