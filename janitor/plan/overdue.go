package plan

import (
	"maps"

	"lapse/lease"
)

// outlived says of each lease whether its instance should be gone by its record, and what keeps it. It comes last, because
// the engaged brakes are part of the answer.
func (c *planner) outlived() {
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
		l := c.Row(v.InstanceID)
		v.Overdue = known.Overdue(c.asFound(l), l.asWritten())
		switch v.Action {
		case ActHold, ActKeep, ActReport:
			c.wake(due.Add(lease.OverdueAfter)) // what keeps it may do so still
		default:
		}
	}
}

// circumstances are those of this decision, and what the registry tells beside.
func (c *planner) circumstances() lease.Circumstances {
	known := c.Circumstances(c.Now)
	if !known.Fresh {
		known.Swept = map[lease.Location]bool{}
	}
	for _, p := range c.Locations {
		known.Swept[p.Location] = true
	}
	known.Fresh, known.TermGrace, known.Brakes, known.Behind, known.Unable = true, c.Policy.TermGrace, c.heldBrakes(), c.behind, c.Leadership.Unable
	return known
}

// asFound is the lease with what was found out about its instance, and is not on record yet.
func (c *planner) asFound(l *Row) *lease.Lease {
	if !l.AbsentSince.IsZero() || l.location < 0 || !c.Locations[l.location].Absent[l.InstanceID] {
		return l.Lease
	}
	found := *l.Lease
	found.AbsentSince = c.Now
	return &found
}

// asWritten is the instance with the date that was written onto it since it was listed.
func (l *Row) asWritten() *lease.Instance {
	i := l.Instance
	if i == nil || l.written.Expires.Number == 0 {
		return i
	}
	now := *i
	now.Tags = maps.Clone(i.Tags)
	now.Tags[lease.TagExpires] = l.tag.String()
	return &now
}
