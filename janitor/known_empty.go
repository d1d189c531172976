package janitor

import (
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// knownEmptyMax is how old the listing of an empty location may get. So accounts with many regions, most of them empty, cost few
// calls.
const knownEmptyMax = 15 * time.Minute

// knownEmpty returns the locations that this sweep need not list: the last listing was complete and showed nothing that bears a
// registry's tag, and no record speaks of the location. Launchers and `lease adopt` write a record before there is anything
// to be seen, so a location stops being known as empty in the next sweep. Records that cannot be read may speak of any location.
//
// Nothing is concluded from such a listing about a launch that was recorded meanwhile, and a lease that was is looked up
// by id, as always.
func (t *term) knownEmpty() map[lease.Location]plan.LocationView {
	knownEmpty := map[lease.Location]plan.LocationView{}
	for _, p := range t.seen.locations {
		due := time.Since(p.At)+t.table.pause() > knownEmptyMax // now, or before the next sweep
		if !due && p.Listed() && p.Dated && len(p.Instances)+len(p.Absent) == 0 {
			p.Kept, p.Absent, p.Sought, p.Leftovers, p.LeftoverErr = true, map[string]bool{}, nil, nil, ""
			p.Skew += t.seen.drift(t.Now())
			knownEmpty[p.Location] = p
		}
	}
	s := &t.seen.snapshot
	if len(knownEmpty) == 0 || len(s.Bad) > 0 {
		return nil
	}
	for i := range s.Leases {
		delete(knownEmpty, s.Leases[i].Location())
	}
	for i := range s.Launches {
		if s.Launches[i].State != lease.LaunchDone { // of a closed one, something may turn up late
			delete(knownEmpty, s.Launches[i].Location())
		}
	}
	return knownEmpty
}
