package observe

import (
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// knownEmptyMax is how old the listing of an empty location may get. So accounts with many regions, most of them empty, cost few
// calls.
const knownEmptyMax = 15 * time.Minute

// KnownEmpty returns the locations that a sweep need not list: the last listing was complete and showed nothing that bears a
// registry's tag, and no record speaks of the location. Launchers and `lease adopt` write a record before there is anything
// to be seen, so a location stops being known as empty in the next sweep. Records that cannot be read may speak of any location.
// pause is how long after this sweep the next is due; wall is what our clock shows.
//
// Such a listing says nothing about a launch that was recorded after it. The instance of a lease that was recorded after it
// is looked up by id, as always.
func (s Listings) KnownEmpty(j *plan.Joined, pause time.Duration, wall time.Time) map[lease.Location]plan.LocationView {
	knownEmpty := map[lease.Location]plan.LocationView{}
	for _, p := range s.Locations {
		due := time.Since(p.At)+pause > knownEmptyMax // now, or before the next sweep
		if !due && p.Listed() && p.Dated && len(p.Instances)+len(p.Absent) == 0 {
			p.Kept, p.Absent, p.Sought, p.Leftovers, p.LeftoverErr = true, map[string]bool{}, nil, nil, ""
			p.Skew += s.Drift(wall)
			knownEmpty[p.Location] = p
		}
	}
	if len(knownEmpty) == 0 || len(j.Bad) > 0 {
		return nil
	}
	for i := range j.Rows {
		delete(knownEmpty, j.Rows[i].Location())
	}
	for _, l := range j.Launches {
		if l.State != lease.LaunchDone || l.MayLeave() && l.ClearedAt.IsZero() { // something may turn up late
			delete(knownEmpty, l.Location())
		}
	}
	return knownEmpty
}
