package plan

import (
	"cmp"
	"slices"
	"time"

	"lapse/lease"
)

// Decide returns what should happen, given what was observed. It does no I/O and reads no clock; the order of its input
// does not matter; and more doubt, or more that is dead, only ever shrinks what it ends of the rest.
func Decide(v View) Plan {
	c := newPlanner(v)
	c.engage()
	for _, l := range v.Launches {
		c.judgeLaunch(l)
	}
	for n := range v.Rows {
		c.judge(&v.Rows[n])
	}
	for _, s := range c.unclear {
		c.unleased(s.instance)
	}
	for n := range v.Locations {
		c.judgeLeftovers(&v.Locations[n])
	}
	if c.unsorted {
		sortVerdicts(c.verdicts)
	}
	c.brake()
	c.outlived()
	return Plan{
		Verdicts: c.verdicts, Brakes: c.heldBrakes(), Behind: c.namedBehind(), Next: c.next, Enforcing: c.enforcing, Seen: c.seen, Tags: c.tagWrites(),
	}
}

// planner is one decision in the making: the view, and what was concluded so far.
type planner struct {
	View
	unclear   []shown                   // instances of which no record speaks that can be read
	bad       map[string][]string       // what is wrong with the records of an instance, by its id
	unread    map[string]bool           // instance ids whose lease cannot be read
	doubted   map[string]bool           // instance ids whose heartbeat cannot be read
	bearing   map[string]int            // instances by the launch token that they bear; made when somebody asks
	unbound   map[string]bool           // tokens of launches of which an instance is alive without a lease
	settled   map[string]*settledLaunch // by token of the launch
	enforcing map[string]time.Time
	seen      map[string]lease.Census // by location
	untracked map[string]bool         // instance ids that bear our tag and of which no record speaks
	behind    map[string]int64        // by instance id: the change that a sidecar has seen of its lease, if that is later than there is
	// unleasedAlive are the managed instances that are alive and of which no record of a lease speaks.
	unleasedAlive map[string]bool
	// untaggedMembers are instances that settled launches left without a tag, which may be set.
	untaggedMembers []*lease.Instance
	// leasedUnrecorded are those of them that were leased by their tag.
	leasedUnrecorded []string
	tallied          tallied
	losses           losses
	lost             map[zoneTimeout]brakeKey // brakes that hold lost heartbeats, as far as they were asked for
	brakes           map[brakeKey]lease.Brake
	verdicts         []Verdict
	unsorted         bool  // the verdicts are not in order
	needs            needs // of the judgement at hand
	needed           needs // of all verdicts
	next             time.Time
}

func newPlanner(v View) *planner {
	c := &planner{
		View:          v,
		verdicts:      make([]Verdict, 0, len(v.Rows)+len(v.Launches)+len(v.leaseless)),
		bad:           map[string][]string{},
		doubted:       map[string]bool{},
		unread:        map[string]bool{},
		unbound:       map[string]bool{},
		seen:          map[string]lease.Census{},
		untracked:     map[string]bool{},
		behind:        map[string]int64{},
		unleasedAlive: map[string]bool{},
		brakes:        map[brakeKey]lease.Brake{},
		lost:          map[zoneTimeout]brakeKey{},
	}
	c.indexBad()
	c.count()
	c.settled = settledLaunches(v.Joined, v.Now, v.Policy)
	c.enforcing = enforcingSince(v.Now, v.Registry, v.Checkpoint, v.Locations, v.Policy.MaxSkew)
	c.tally()
	return c
}

func (c *planner) indexBad() {
	for _, bad := range c.Bad {
		c.bad[bad.ID] = append(c.bad[bad.ID], bad.Err.Error())
		switch bad.Kind {
		case BadLease:
			c.unread[bad.ID] = true
		case BadHeartbeat:
			c.doubted[bad.ID] = true
		}
	}
}

// leased reports whether a lease speaks of an instance, readable or not. A heartbeat does not: an instance writes it itself.
func (c *planner) leased(id string) bool { return c.Row(id) != nil || c.unread[id] }

// count takes the census of what lives and bears a registry's tag, and of what was left of each launch.
func (c *planner) count() {
	counted := slices.Clone(c.counted)
	for _, s := range c.leaseless {
		c.countUnleased(s, &counted[s.location])
	}
	for id := range c.bad {
		for n := range c.listed {
			if i := c.instances[SeenAt{c.listed[n].Location, id}]; i != nil && c.Row(id) != nil {
				c.unclear = append(c.unclear, shown{n, i})
			}
		}
	}
	for n := range c.Locations {
		p := &c.Locations[n]
		c.countUnlisted(p, &counted[n])
		if p.Listed() {
			c.seen[p.Location.String()] = counted[n]
		}
	}
}

// countLeased counts an instance that has a lease.
func countLeased(n *lease.Census, i *lease.Instance, uuid string) {
	switch {
	case !i.Alive() || i.Tags[lease.TagRegistry] == "":
		return
	case !i.ManagedBy(uuid):
		n.Foreign++
		return
	}
	n.Managed++
	if i.Exempt() {
		n.Exempt++
	}
}

// countUnleased counts an instance that had no lease when it was listed. It may have one by now.
func (c *planner) countUnleased(s shown, n *lease.Census) {
	p, i := &c.Locations[s.location], s.instance
	countLeased(n, i, c.Registry.UUID)
	leased, alive := c.leased(i.ID), i.Alive()
	launch, member := c.launchOf(i)
	if launch != nil {
		c.unbound[launch.Token] = c.unbound[launch.Token] || member && alive && !leased
	}
	if c.Row(i.ID) == nil {
		c.unclear = append(c.unclear, s)
	}
	if !alive || leased || !i.ManagedBy(c.Registry.UUID) {
		return
	}
	if p.Listed() {
		c.unleasedAlive[i.ID] = true
		if i.Leased() {
			c.leasedUnrecorded = append(c.leasedUnrecorded, i.ID)
		}
	}
	if !member || launch.State == lease.LaunchDone {
		n.Untracked++
		if p.Listed() {
			c.untracked[i.ID] = true
		}
	}
}

// bears reports whether any instance bears the tag of a launch.
func (c *planner) bears(token string) bool {
	if c.bearing == nil {
		c.bearing = map[string]int{}
		for n := range c.listed {
			for at := range c.listed[n].Instances {
				if launch, _ := c.launchOf(&c.listed[n].Instances[at]); launch != nil {
					c.bearing[launch.Token]++
				}
			}
		}
	}
	return c.bearing[token] > 0
}

// countUnlisted counts what a listing lacks of that which is leased. A few are nothing: listings lag behind, and somebody
// may have terminated one. Many mean that EC2 does not tell everything.
func (c *planner) countUnlisted(p *LocationView, n *lease.Census) {
	for _, i := range p.Instances[len(p.Instances)-p.ByID:] {
		if l := c.Row(i.ID); l != nil && l.Live() && i.Alive() {
			n.Unlisted++
		}
	}
	for id := range p.Absent {
		if l := c.Row(id); l != nil && l.Live() && l.Location() == p.Location {
			n.Unseen++
		}
	}
}

// Kinds of bad records, as stores name them.
const (
	BadLease      = "lease"
	BadHeartbeat  = "heartbeat"
	BadCheckpoint = "checkpoint"
)

// propose adds a verdict about a lease.
func (c *planner) propose(l *Row, action Action, reason string) *Verdict {
	return c.add(Verdict{
		Action: action, InstanceID: l.InstanceID, Token: l.Launch, Location: l.Location(), Zone: cmp.Or(l.ZoneID, l.Zone),
		Reason: reason, Lease: l.Lease, Instance: l.Instance, ownership: l.ownership,
	})
}

// add adds a verdict, which rests on what is needed for the judgement at hand.
func (c *planner) add(v Verdict) *Verdict {
	v.needs, c.needs = c.needs, 0
	c.needed |= v.needs
	if n := len(c.verdicts); n > 0 && v.InstanceID <= c.verdicts[n-1].InstanceID {
		c.unsorted = true
	}
	c.verdicts = append(c.verdicts, v)
	return &c.verdicts[len(c.verdicts)-1]
}

// proposeFor adds a verdict about an instance without a lease.
func (c *planner) proposeFor(i *lease.Instance, launch *lease.Launch, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: i.ID, Location: i.Location, Zone: i.ZoneKey(), Reason: reason, Instance: i, Launch: launch,
		Untracked: c.untracked[i.ID], ownership: ownershipOf(i, c.Registry.UUID),
	}
	if launch != nil {
		verdict.Token = launch.Token
	}
	return c.add(verdict)
}

// proposeForLaunch adds a verdict about a launch.
func (c *planner) proposeForLaunch(l *LaunchRow, action Action, reason string) {
	c.add(Verdict{Action: action, Token: l.Token, Location: l.Location(), Reason: reason, Launch: l.Launch})
}

// wake asks for another decision at t, if that is to come.
func (c *planner) wake(t time.Time) {
	if t.After(c.Now) && (c.next.IsZero() || t.Before(c.next)) {
		c.next = t
	}
}
