package plan

import (
	"maps"

	"lapse/lease"
)

// outlived says of each lease whether its instance should be gone by its record, and what keeps it. It comes last: which
// brakes hold is part of it.
func (c *situation) outlived() {
	known := c.circumstances()
	for n := range c.verdicts {
		v := &c.verdicts[n]
		if v.Lease == nil {
			continue
		}
		due := v.Lease.Due(known.TermGrace)
		if due.IsZero() || c.Now.Before(due) {
			continue
		}
		v.Overdue = known.Overdue(c.lookedUp(v.Lease), c.written(v.Instance))
		switch v.Action {
		case ActHold, ActKept, ActReport:
			c.wake(due.Add(lease.OverdueAfter)) // what keeps it may do so still
		default:
		}
	}
}

// circumstances are those of this decision, and what the registry tells beside.
func (c *situation) circumstances() lease.Circumstances {
	known := c.Snapshot.Circumstances(c.Now)
	if !known.Fresh {
		known.Swept = map[lease.Location]bool{}
	}
	for _, p := range c.Locations {
		known.Swept[p.Location] = true
	}
	known.Fresh, known.TermGrace, known.Brakes, known.Unable = true, c.Policy.TermGrace, c.heldBrakes(), c.Leadership.Unable
	return known
}

// lookedUp is the lease with what was found out about its instance, and is not on record yet.
func (c *situation) lookedUp(l *lease.Lease) *lease.Lease {
	if !l.AbsentSince.IsZero() || !c.location[l.Location()].Absent[l.InstanceID] {
		return l
	}
	found := *l
	found.AbsentSince = c.Now
	return &found
}

// written is the instance with the date that was written onto it since it was listed.
func (c *situation) written(i *lease.Instance) *lease.Instance {
	if i == nil || c.Written[i.ID].Expires.Number == 0 {
		return i
	}
	now := *i
	now.Tags = maps.Clone(i.Tags)
	now.Tags[lease.TagExpires] = c.tagOf(i).String()
	return &now
}
