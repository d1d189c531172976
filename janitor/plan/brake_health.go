package plan

import (
	"fmt"
	"slices"
	"time"
)

// engageListing engages the brake of a location that could not be listed.
func (c *planner) engageListing(p *LocationView) {
	if !p.Listed() {
		c.trip(BrakeHealth, p.Location.String(), "listing failed: "+p.Err)
	}
}

// engageHealth engages the brake that holds back all verdicts about heartbeats, where etcd or the leadership cannot be trusted.
func (c *planner) engageHealth() {
	recent := slices.DeleteFunc(slices.Clone(c.Checkpoint.Leaderships), func(leadership time.Time) bool {
		return c.Now.Sub(leadership).Abs() >= c.Policy.LeadershipWindow
	})
	slices.SortFunc(recent, time.Time.Compare)
	switch {
	case c.Leadership.Unhealthy != "":
		c.trip(BrakeHealth, "", c.Leadership.Unhealthy)
	case !c.Leadership.Checkpointed:
		c.trip(BrakeHealth, "", "new leader: no checkpoint of its own yet")
		b := c.brakes[brakeKey{BrakeHealth, ""}]
		b.Starting = true
		c.brakes[brakeKey{BrakeHealth, ""}] = b
	case len(recent) > c.Policy.LeadershipMax:
		lifts := recent[len(recent)-1-c.Policy.LeadershipMax].Add(c.Policy.LeadershipWindow)
		c.trip(BrakeHealth, "", fmt.Sprintf("%d janitors became leader within %s; the brake is released at %s if no other does",
			len(recent), c.Policy.LeadershipWindow, lifts.UTC().Format(time.RFC3339)))
	}
}
