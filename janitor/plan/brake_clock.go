package plan

// engageClock engages the brake of a location in which our clock and EC2's disagree.
func (c *planner) engageClock(p *LocationView) {
	if why := p.ClockTrouble(c.Policy.MaxSkew); why != "" {
		c.trip(BrakeClock, p.Location.String(), why)
	}
}
