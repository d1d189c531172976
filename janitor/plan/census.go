package plan

import (
	"time"

	"lapse/lease"
)

// Census counts what a decision was about, and what was decided.
type Census struct {
	Mode      lease.Mode
	Leases    map[lease.State]int
	Launches  map[lease.LaunchState]int
	Locations map[lease.Location]LocationCensus
	Verdicts  map[Action]int
	Brakes    []lease.Brake            // engaged
	Behind    int                      // leases that are held back because their sidecars have seen a later change
	Lost      map[string]int           // by zone, where leases have a heartbeat timeout
	Longest   time.Duration            // for which a heartbeat has been missed, by this leader's clock
	Overdue   map[lease.KeptReason]int // instances that should be gone by their record and are not, by what keeps them

	TagLag time.Duration // for how long the oldest tag that is to be written has been behind; one that is left so by choice is not
}

// LocationCensus counts the instances of one location that are neither terminated nor on their way there, each once. Where the
// listing was not complete, there are none.
type LocationCensus struct {
	Listed    bool // the last listing was complete
	Managed   int  // a record speaks of it, or is about to
	Foreign   int  // bears another registry's tag, or lost ours
	Untracked int  // managed, but no record speaks of it
	Exempt    int  // bears the tag that forbids terminating it
	Stuck     int  // instances that EC2 refuses to terminate
}

// Census counts what the plan is about, in one pass over the records.
func (p Plan) Census(j *Joined, seen []LocationView) Census {
	c := Census{
		Mode: j.Registry.Mode, Leases: map[lease.State]int{}, Launches: map[lease.LaunchState]int{},
		Locations: map[lease.Location]LocationCensus{}, Verdicts: map[Action]int{}, Brakes: p.Brakes, Behind: len(p.Behind), Lost: map[string]int{},
		Overdue: map[lease.KeptReason]int{},
	}
	for _, l := range j.Launches {
		c.Launches[l.State]++
	}
	locations := map[lease.Location]*LocationCensus{}
	for i := range seen {
		locations[seen[i].Location] = &LocationCensus{Listed: seen[i].Listed()}
	}
	var last Verdict // most verdicts follow on one like them
	var here *LocationCensus
	alike := 0
	for i := range p.Verdicts {
		v := &p.Verdicts[i]
		if v.Action != last.Action {
			c.Verdicts[last.Action] += alike
			alike = 0
		}
		alike++
		if v.Location != last.Location || i == 0 {
			here = locations[v.Location]
		}
		if v.Instance != nil && v.Instance != last.Instance && here != nil && here.Listed { // of one instance there may be several
			here.add(v)
			last.Instance = v.Instance
		}
		if v.Lease != nil {
			c.add(v, here)
		}
		if why := v.Overdue.Reason; why != "" {
			c.Overdue[why]++
		}
		if v.Renewal != nil {
			c.Longest = max(c.Longest, v.Renewal.Missing)
		}
		last.Action, last.Location = v.Action, v.Location
	}
	if alike > 0 {
		c.Verdicts[last.Action] += alike
	}
	delete(c.Verdicts, "")
	for location, counted := range locations {
		c.Locations[location] = *counted
	}
	return c
}

// add counts the lease that a verdict is about.
func (c *Census) add(v *Verdict, location *LocationCensus) {
	l := v.Lease
	c.Leases[l.State]++
	if v.Overdue.Reason == lease.KeptStuck && location != nil {
		location.Stuck++
	}
	if l.State != lease.StateActive || l.HeartbeatTimeout <= 0 {
		return
	}
	zone := ZoneOf(l, v.Instance)
	if v.Renewal == nil {
		c.Lost[zone] += 0
		return
	}
	c.Lost[zone]++
}

// add counts the instance that a verdict is about.
func (p *LocationCensus) add(v *Verdict) {
	switch v.ownership {
	case nobodys:
	case exempt:
		p.Exempt++
	case foreign:
		p.Foreign++
	case ours:
		if v.Untracked {
			p.Untracked++
			return
		}
		p.Managed++
	}
}
