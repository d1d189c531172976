package plan

import (
	"cmp"
	"slices"
	"time"

	"lapse/lease"
)

// Names of brakes; those that a person can release are [lease.BrakeHeartbeats] and the like.
const (
	BrakeHeartbeats = lease.BrakeHeartbeats
	BrakeRate       = "rate"   // too many terminations for inferred causes
	BrakeClock      = "clock"  // our clock and EC2's disagree
	BrakeHealth     = "health" // etcd or a listing is not to be trusted
)

// BrakeRule is one line of the table of brakes, for people. The README's and the runbook's tables are checked against it.
type BrakeRule struct {
	Name     string
	Engages  string
	Holds    string
	Released string
	Flags    []string // of `janitor run` that set its figures
}

// BrakeRules is the table of brakes. They act at two moments: what is observed engages them before anything is judged
// ([Decide] calls engage), and they hold verdicts back after all are made (brake).
func BrakeRules() []BrakeRule {
	return []BrakeRule{
		{
			lease.BrakeHeartbeats, "more than 2, and than 30 %, of a zone or of all have lost their heartbeats",
			"terminations for heartbeats, there", "when fewer are lost, or by a person",
			[]string{"heartbeats-share"},
		},
		{
			BrakeRate, "more than 5, and than 5 %, were terminated for inferred causes within 10 min",
			"terminations for heartbeats and of failed launches", "by time",
			[]string{"rate-share"},
		},
		{
			lease.BrakeRollback, "the registry was set back to an older state, or lost records", "everything", "by a person", nil,
		},
		{
			lease.BrakeUnwatched, "no janitor watched the registry for over an hour, or this one does not know it", "everything", "by a person", nil,
		},
		{
			BrakeClock, "the clocks of the janitor and of EC2 are more than 10 s apart", "terminations by date, and new marks, in the location",
			"when the clock is right", nil,
		},
		{
			BrakeHealth, "etcd is unhealthy, a listing is incomplete, or leaders change too often",
			"terminations for heartbeats, or what the listing of the location tells", "when its cause ends", nil,
		},
	}
}

// needs is what a verdict rests on, besides the records. Where that is missing, a brake holds the verdict back.
type needs uint8

const (
	needsListing    needs = 1 << iota // that the listing of its location is complete
	needsClock                        // that our clock is right
	needsHeartbeats                   // that heartbeats are to be judged by
)

type brakeKey struct{ name, scope string }

// engage engages the brakes for what was observed, before anything is judged.
func (c *planner) engage() {
	c.standingBrakes()
	for n := range c.Locations {
		p := &c.Locations[n]
		c.engageClock(p)
		c.engageListing(p)
	}
	if !c.Policy.SkipHeartbeats {
		c.engageHealth()
	}
}

// brake lets the brakes hold verdicts back, after all are made and sorted. Each brake holds back what rests on what it guards.
// Then the brakes that stand until a person releases them hold back the rest. What is left is rationed.
func (c *planner) brake() {
	for n := range c.verdicts {
		if c.needed == 0 {
			break
		}
		if v := &c.verdicts[n]; v.needs != 0 {
			if name, scope := c.holds(v); name != "" {
				v.held(name, scope)
			}
		}
	}
	c.holdStanding()
	c.ration()
}

// holds returns the brake that holds a verdict back for what it rests on, if any.
func (c *planner) holds(v *Verdict) (name, scope string) {
	p := &c.Locations[c.location[v.Location]]
	switch {
	case v.needs&needsListing != 0 && !p.Listed():
		return BrakeHealth, p.Location.String()
	case v.needs&needsHeartbeats != 0:
		if name, scope := c.heartbeatsBrake(v); name != "" {
			return name, scope
		}
	default:
	}
	if v.needs&needsClock != 0 && p.ClockTrouble(c.Policy.MaxSkew) != "" {
		return BrakeClock, p.Location.String()
	}
	return "", ""
}

// held turns a verdict into one that a brake holds back.
func (v *Verdict) held(name, scope string) {
	v.Action, v.Brake, v.Deadline = ActHold, name, time.Time{}
	v.Reason += "; held back by brake " + name
	if scope != "" {
		v.Reason += " (" + scope + ")"
	}
}

// trip engages a brake. Of several reasons it keeps the same one, whatever the order in which they are found.
func (c *planner) trip(name, scope, reason string) {
	key := brakeKey{name, scope}
	if before, held := c.brakes[key]; held && before.Reason <= reason {
		return
	}
	since := c.Now
	for _, before := range c.Registry.Stands(c.Checkpoint.Brakes) { // a brake that was released and engages again is another one
		if before.Name == name && before.Scope == scope {
			since = before.Since
		}
	}
	c.brakes[key] = lease.Brake{Name: name, Scope: scope, Since: since, Reason: reason, Count: c.brakes[key].Count}
}

// stand engages a brake that holds everything back until a person releases it. It is not one that was released before.
func (c *planner) stand(name, reason string) {
	key := brakeKey{name, ""}
	if _, held := c.brakes[key]; !held {
		c.brakes[key] = lease.Brake{Name: name, Since: c.Now.UTC().Truncate(time.Millisecond), Reason: reason}
	}
}

// tallyBrake notes how many engaged a brake: the greatest count.
func (c *planner) tallyBrake(name, scope string, n int) {
	b := c.brakes[brakeKey{name, scope}]
	b.Count = max(b.Count, n)
	c.brakes[brakeKey{name, scope}] = b
}

func (c *planner) heldBrakes() []lease.Brake {
	held := []lease.Brake{}
	for _, b := range c.brakes {
		held = append(held, b)
	}
	slices.SortFunc(held, func(a, b lease.Brake) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Scope, b.Scope))
	})
	return held
}

// Standing are those of the brakes that stay engaged until a person releases them.
func Standing(held []lease.Brake) []lease.Brake {
	var all []lease.Brake
	for _, b := range held {
		if b.Standing() {
			all = append(all, b)
		}
	}
	return all
}
