package janitor

import (
	"cmp"
	"slices"
	"time"

	"lapse/lease"
)

// decide returns what should happen, given what was observed. It does no I/O and reads no clock; the order of its input
// does not matter; and more doubt, or more that is dead, only ever shrinks what it ends of the rest.
func decide(v View) Plan {
	c := newCase(v)
	for i := range v.Snapshot.Launches {
		c.settle(&v.Snapshot.Launches[i])
	}
	for i := range v.Snapshot.Leases {
		c.judge(&v.Snapshot.Leases[i])
	}
	for _, p := range v.Places {
		for i := range p.Instances {
			c.unleased(p, &p.Instances[i])
		}
	}
	c.ration()
	sortVerdicts(c.verdicts)
	return Plan{Verdicts: c.verdicts, Brakes: c.heldBrakes(), Next: c.next, Acting: c.acting}
}

// situation is one decision in the making: the view, indexed, and what was concluded so far.
type situation struct {
	View
	place     map[lease.Place]PlaceView
	instances map[string]*lease.Instance
	leased    map[string]bool // instance ids that a record speaks of, readable or not
	attempts  map[string]*lease.Launch
	unbound   map[string]bool // tokens of launches with an answered instance that has no lease
	leasesOf  map[string]int  // records by launch token
	bearing   map[string]int  // listed instances by the launch token that they belong to
	acting    map[string]time.Time
	silences  silences
	brakes    map[brakeKey]lease.Brake
	verdicts  []Verdict
	next      time.Time
}

func newCase(v View) *situation {
	c := &situation{
		View:      v,
		place:     map[lease.Place]PlaceView{},
		instances: map[string]*lease.Instance{},
		leased:    map[string]bool{},
		attempts:  map[string]*lease.Launch{},
		leasesOf:  map[string]int{},
		bearing:   map[string]int{},
		brakes:    map[brakeKey]lease.Brake{},
	}
	for _, p := range v.Places {
		c.place[p.Place] = p
		for i := range p.Instances {
			c.instances[p.Instances[i].ID] = &p.Instances[i]
		}
	}
	for i := range v.Snapshot.Leases {
		c.leased[v.Snapshot.Leases[i].InstanceID] = true
		c.leasesOf[v.Snapshot.Leases[i].Launch]++
	}
	for _, bad := range v.Snapshot.Bad {
		c.leased[bad.ID] = true
	}
	for i := range v.Snapshot.Launches {
		launch := &v.Snapshot.Launches[i]
		for _, a := range launch.Attempts {
			c.attempts[a.ClientToken] = launch
		}
	}
	for _, i := range c.instances {
		if launch := c.attempts[i.Tags[lease.TagLaunch]]; launch != nil {
			c.bearing[launch.Token]++
		}
	}
	c.acting = acting(v.Now, v.Snapshot.Registry, v.Snapshot.Sweep, v.Places, v.Policy.MaxSkew)
	c.placeBrakes()
	c.silences = c.countSilences()
	return c
}

// say adds a verdict about a lease.
func (c *situation) say(l *lease.Lease, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: l.InstanceID, Token: l.Launch, Place: l.Place(), Zone: cmp.Or(l.ZoneID, l.Zone),
		Reason: reason, Lease: l, Instance: c.instances[l.InstanceID],
	}
	c.verdicts = append(c.verdicts, verdict)
	return &c.verdicts[len(c.verdicts)-1]
}

// sayOf adds a verdict about an instance without a lease.
func (c *situation) sayOf(i *lease.Instance, launch *lease.Launch, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: i.ID, Place: i.Place, Zone: i.ZoneKey(), Reason: reason, Instance: i, Launch: launch,
	}
	if launch != nil {
		verdict.Token = launch.Token
	}
	c.verdicts = append(c.verdicts, verdict)
	return &c.verdicts[len(c.verdicts)-1]
}

// sayOfLaunch adds a verdict about a launch.
func (c *situation) sayOfLaunch(l *lease.Launch, action Action, reason string) {
	c.verdicts = append(c.verdicts, Verdict{
		Action: action, Token: l.Token, Place: l.Place(), Reason: reason, Launch: l,
	})
}

// wake asks for another decision at t, if that is to come.
func (c *situation) wake(t time.Time) {
	if t.After(c.Now) && (c.next.IsZero() || t.Before(c.next)) {
		c.next = t
	}
}

func (c *situation) heldBrakes() []lease.Brake {
	held := []lease.Brake{}
	for _, b := range c.brakes {
		held = append(held, b)
	}
	slices.SortFunc(held, func(a, b lease.Brake) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Scope, b.Scope))
	})
	return held
}
