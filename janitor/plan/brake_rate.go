package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"lapse/lease"
)

// ration holds back terminations and marks for inferred causes beyond a number within a time. What was terminated before is read
// from the records, so that it counts whoever did it. A launch that failed counts once, whatever it left; launches are
// served by token and leases by id, so that one more of either can only take another's location.
func (c *planner) ration() {
	t := &c.tallied
	ended, marked, failed := t.ended, t.marked, t.failed
	allowed := max(c.Policy.RateMin, int(c.Policy.RateShare*float64(t.healthy)))
	spent := ended + len(failed)
	fits := map[string]bool{}
	for _, token := range c.orphaned() {
		if !failed[token] {
			spent++
		}
		fits[token] = spent <= allowed
	}
	for _, bad := range c.Bad {
		if bad.Kind == BadLease {
			spent++ // it may have been terminated a moment ago
		}
	}
	held := false
	for i := range c.verdicts {
		v := &c.verdicts[i]
		switch {
		case v.Action == ActOrphan && !fits[v.Token]:
			c.overRate(v, allowed)
			held = true
		case v.Action == ActTerminate && v.Cause.Inferred() && v.Lease.State == lease.StateActive:
			if spent++; spent > allowed {
				c.overRate(v, allowed)
				held = true
			}
		}
	}
	for i := range c.verdicts {
		if v := &c.verdicts[i]; v.Action == ActMark && v.Cause.Inferred() {
			if marked++; marked > allowed || held { // nothing is marked while a brake is engaged
				c.overRate(v, allowed)
			}
		}
	}
}

// orphaned returns the tokens of launches with instances to terminate, in order.
func (c *planner) orphaned() []string {
	tokens := map[string]bool{}
	for _, v := range c.verdicts {
		if v.Action == ActOrphan {
			tokens[v.Token] = true
		}
	}
	return slices.Sorted(maps.Keys(tokens))
}

// overRate holds a verdict back.
func (c *planner) overRate(v *Verdict, allowed int) {
	c.trip(BrakeRate, "", fmt.Sprintf("%d terminations for inferred causes within %s are the limit", allowed, c.Policy.RateWindow))
	v.held(BrakeRate, "")
	c.wake(c.Now.Add(time.Minute))
}
