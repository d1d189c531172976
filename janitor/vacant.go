package janitor

import (
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// vacantMax is how old the listing of an empty place may get. So accounts with many regions, most of them empty, cost few
// calls.
const vacantMax = 15 * time.Minute

// vacant returns the places that this sweep need not list: the last listing was complete and showed nothing that bears a
// registry's tag, and no record speaks of the place. Launchers and `lease adopt` write a record before there is anything
// to be seen, so a place stops being vacant in the next sweep. Records that cannot be read may speak of any place.
//
// Nothing is concluded from such a listing about a launch that was recorded meanwhile, and a lease that was is looked up
// by id, as always.
func (t *term) vacant() map[lease.Place]plan.PlaceView {
	vacant := map[lease.Place]plan.PlaceView{}
	for _, p := range t.seen.places {
		due := time.Since(p.At)+t.table.pause() > vacantMax // now, or before the next sweep
		if !due && p.Listed() && p.Dated && len(p.Instances)+len(p.Absent) == 0 {
			p.Kept, p.Absent, p.Sought, p.Leftovers, p.LeftoverErr = true, map[string]bool{}, nil, nil, ""
			p.Skew += t.seen.drift(t.Now())
			vacant[p.Place] = p
		}
	}
	s := &t.seen.snapshot
	if len(vacant) == 0 || len(s.Bad) > 0 {
		return nil
	}
	for i := range s.Leases {
		delete(vacant, s.Leases[i].Place())
	}
	for i := range s.Launches {
		if s.Launches[i].State != lease.LaunchDone { // of a closed one, something may turn up late
			delete(vacant, s.Launches[i].Place())
		}
	}
	return vacant
}
