package plan

import (
	"fmt"

	"lapse/lease"
)

// judgeAdopting decides about an instance whose lease was written and whose tag EC2 has not shown yet. It is never terminated.
func (c *planner) judgeAdopting(l *Row, i *lease.Instance) {
	switch {
	case i != nil && i.ManagedBy(c.Registry.UUID):
		c.propose(l, ActActivate, "bears the registry's tag")
	case i != nil && i.State == lease.InstanceTerminated:
		c.propose(l, ActEnd, "terminated by somebody else before its tag was seen").Cause = lease.CauseGone
	case l.Incomplete(c.Now):
		c.propose(l, ActReport, "adopted, but "+untagged(l, i))
	default:
		c.propose(l, ActNone, "adopted, but EC2 has not shown its tag yet")
	}
}

// untagged says what an adoption lacks.
func untagged(l *Row, i *lease.Instance) string {
	switch {
	case i == nil:
		return "EC2 does not show it"
	case i.Tags[lease.TagRegistry] != "":
		return fmt.Sprintf("it bears the tag %s of another registry; `lease unmanage %s` gives up its lease here", lease.TagRegistry, l.InstanceID)
	}
	return fmt.Sprintf("it lacks the tag %s, so it is never terminated; `lease adopt %s` sets the tag", lease.TagRegistry, l.InstanceID)
}
