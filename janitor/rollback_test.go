package janitor

import (
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

func TestASilenceCountsAnewWhenWhatStandsIsLifted(t *testing.T) {
	t.Parallel()
	v := ViewOf(Holds("i-1", Silent(2*time.Minute), Marked(lease.CauseHeartbeatLost, In(3*time.Minute))), Holds("i-2", Heartbeats))
	if got, _ := RulingOn(t, v, "i-1"); got.Action != plan.ActKeep {
		t.Fatalf("%v: the test shows nothing", got)
	}
	v.Standing = []lease.Brake{{Name: lease.BrakeUnwatched, Since: Ago(time.Hour), Reason: "then"}}
	planned := plan.Decide(v)
	m := newMemory(Noon)
	m.observe(Noon, time.Time{}, v.Snapshot, plan.Indexed(v.Locations))
	later := Noon.Add(2 * time.Minute)
	m.held(later, planned.Verdicts)
	if s := m.silences(later)["i-1"]; s.For != 0 {
		t.Errorf("silent for %s when the brake lifts, and ended that much sooner", s.For)
	}
}
