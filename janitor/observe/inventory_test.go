package observe

import (
	"testing"
	"time"

	"lapse/lease"

	. "lapse/janitor/plan/plantest"
)

func TestLeasedInstancesMissingFromAListingAreCounted(t *testing.T) {
	t.Parallel()
	v := WorldOf(
		Holds("i-1"), Holds("i-2", Missing), Holds("i-3", Missing), Holds("i-4", Missing, Revoked(lease.CauseExpired, time.Minute)),
		Holds("i-5", Missing, Revoked(lease.CauseExpired, time.Minute)), Holds("i-6", Missing), Holds("i-7", Bare),
	)
	shown := lease.Listing{Instances: []lease.Instance{
		*Holds("i-2").Instance, *Holds("i-4").Instance, *Holds("i-6", Is(lease.InstanceTerminated)).Instance,
	}}
	lookedUp(&v.Locations[0], []string{"i-2", "i-3", "i-4", "i-5", "i-6"}, shown, nil)
	want := lease.Census{Managed: 4, Untracked: 1, Unlisted: 1, Unseen: 1} // i-2 and i-3; the others need no listing
	if got := Decide(v).Seen[Here.String()]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
