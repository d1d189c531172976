package plan

import (
	"time"

	"lapse/lease"
)

// tallied is what is counted over all leases, for the brakes.
type tallied struct {
	// healthy are those beyond doubt: running, not expired, and renewing if they have to. Only they may raise a limit, so that
	// nothing dead or missing makes another one terminate sooner.
	healthy int

	// Within the rate's window: terminations and marks for inferred causes, and launches that left orphans.
	ended, marked int
	failed        map[string]bool

	// Of active leases with an instance that may be terminated: those older than their tags, and all.
	older, comparable int
	renewing          int // sidecars that renew, of leases that are sound, or that have seen later changes
}

// tally counts over all leases, once for all brakes.
func (c *planner) tally() {
	t := &c.tallied
	t.failed = map[string]bool{}
	counts := lossCounts{by: map[zoneTimeout]*lossCount{}}
	lifted := c.rollbackLifted()
	for n := range c.Rows {
		l := &c.Rows[n]
		l.expired = l.Over(c.Now, c.Policy.TermGrace)
		sound := c.sound(l)
		renewing := sound && c.renewing(l)
		if sound && l.HeartbeatTimeout <= 0 || renewing && l.HeartbeatTimeout > 0 {
			t.healthy++
		}
		c.countLoss(&counts, l, renewing)
		c.countRecent(l)
		c.countOlder(l, lifted)
		c.countBehind(l, sound)
	}
	for _, bad := range c.Bad {
		if bad.Kind == BadLease && (c.doubted[bad.ID] || !c.Heartbeats[bad.ID].Held) {
			counts.add(c.zoneSeen(bad.ID), 0, true)
		}
	}
	c.losses = counts.byZone()
}

// countRecent counts what was terminated and marked within the rate's window.
func (c *planner) countRecent(l *Row) {
	within := func(t time.Time) bool { return !t.IsZero() && c.Now.Sub(t).Abs() < c.Policy.RateWindow }
	switch {
	case l.Cause == "" && l.Mark == nil:
	case within(l.RevokedAt) && l.Cause == lease.CauseFailedCreation:
		c.tallied.failed[l.Launch] = true
	case within(l.RevokedAt) && l.Cause.Inferred():
		c.tallied.ended++
	case l.Mark != nil && l.Mark.Cause.Inferred() && within(l.Mark.Since):
		c.tallied.marked++
	}
}
