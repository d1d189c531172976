package plan_test

import (
	"testing"
	"time"

	"lapse/lease"

	. "lapse/janitor/plan/plantest"
)

// A launch that was recorded after its location was listed may have made what that listing cannot show.
func TestALaunchIsNotSettledByAListingThatIsOlderThanItsRecord(t *testing.T) {
	t.Parallel()
	for _, state := range []lease.LaunchState{lease.LaunchOpen, lease.LaunchDone, lease.LaunchClosed} {
		v := WorldOf()
		Launches(Launch("t", state, func(l *lease.Launch) {
			l.SettledAt, l.ClearedAt = Ago(365*24*time.Hour), Noon
		}))(&v)
		if ActionOnLaunch(v, "t") == "" {
			t.Errorf("%s: not settled by a full listing either", state)
		}
		v.Locations[0].Kept = true
		if got := ActionOnLaunch(v, "t"); got != "" {
			t.Errorf("%s: %s by a listing that was kept", state, got)
		}
	}
}
