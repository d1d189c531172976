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
		c.judgeLeftovers(p)
	}
	c.holdStanding()
	c.ration()
	sortVerdicts(c.verdicts)
	return Plan{Verdicts: c.verdicts, Brakes: c.heldBrakes(), Next: c.next, Acting: c.acting, Seen: c.seen}
}

// situation is one decision in the making: the view, indexed, and what was concluded so far.
type situation struct {
	View
	place       map[lease.Place]PlaceView
	instances   map[seenAt]*lease.Instance
	leased      map[string]bool          // instance ids that a record speaks of, readable or not
	lease       map[string]*lease.Lease  // readable records by instance id
	bad         map[string][]string      // what is wrong with the records of an instance, by its id
	doubted     map[string]bool          // instance ids whose heartbeat cannot be read
	attempts    map[string]*lease.Launch // by client token
	leasesOf    map[string]int           // records by launch token, but for those of the unmanaged
	bearing     map[string]int           // listed instances by the launch token that they bear
	unbound     map[string]bool          // tokens of launches of which an instance is alive without a lease
	estates     map[string]*estate       // by token of the closed launch
	acting      map[string]time.Time
	seen        map[string]lease.Census // by place
	unexplained map[string]bool         // instance ids that bear our tag and of which no record speaks
	behind      map[string]bool         // instance ids whose sidecar has seen a later change of the lease than there is
	silences    silences
	brakes      map[brakeKey]lease.Brake
	verdicts    []Verdict
	next        time.Time
}

// seenAt is an instance where EC2 showed it. Elsewhere than where its lease says, it is not the one that is meant.
type seenAt struct {
	place lease.Place
	id    string
}

func newCase(v View) *situation {
	c := &situation{
		View:        v,
		place:       map[lease.Place]PlaceView{},
		instances:   map[seenAt]*lease.Instance{},
		leased:      map[string]bool{},
		bad:         map[string][]string{},
		doubted:     map[string]bool{},
		attempts:    map[string]*lease.Launch{},
		leasesOf:    map[string]int{},
		bearing:     map[string]int{},
		unbound:     map[string]bool{},
		lease:       map[string]*lease.Lease{},
		seen:        map[string]lease.Census{},
		unexplained: map[string]bool{},
		behind:      map[string]bool{},
		brakes:      map[brakeKey]lease.Brake{},
	}
	for _, p := range v.Places {
		c.place[p.Place] = p
		for i := range p.Instances {
			c.instances[seenAt{p.Place, p.Instances[i].ID}] = &p.Instances[i]
		}
	}
	c.indexRecords()
	for _, i := range c.instances {
		if launch, member := c.launchOf(i); launch != nil {
			c.bearing[launch.Token]++
			c.unbound[launch.Token] = c.unbound[launch.Token] || member && i.Alive() && !c.leased[i.ID]
		}
	}
	c.count()
	c.estates = estatesOf(v.Snapshot, v.Now, v.Policy)
	c.acting = acting(v.Now, v.Snapshot.Registry, v.Snapshot.Sweep, v.Places, v.Policy.MaxSkew)
	c.standingBrakes()
	c.placeBrakes()
	c.silences = c.countSilences()
	return c
}

func (c *situation) indexRecords() {
	for i := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[i]
		c.leased[l.InstanceID], c.lease[l.InstanceID] = true, l
		if l.State != lease.StateUnmanaged {
			c.leasesOf[l.Launch]++
		}
	}
	for _, bad := range c.Snapshot.Bad {
		c.leased[bad.ID] = true
		c.bad[bad.ID] = append(c.bad[bad.ID], bad.Err.Error())
		if bad.Kind == badHeartbeat {
			c.doubted[bad.ID] = true
		}
	}
	for i := range c.Snapshot.Launches {
		launch := &c.Snapshot.Launches[i]
		for _, a := range launch.Attempts {
			c.attempts[a.ClientToken] = launch
		}
	}
}

// count takes the census of what lives and bears a registry's tag.
func (c *situation) count() {
	for _, p := range c.Places {
		if !p.listed() {
			continue
		}
		var n lease.Census
		for i := range p.Instances {
			instance := &p.Instances[i]
			switch {
			case !instance.Alive() || instance.Tags[lease.TagRegistry] == "":
				continue
			case !instance.ManagedBy(c.Snapshot.Registry.UUID):
				n.Foreign++
				continue
			}
			n.Managed++
			if instance.Exempt() {
				n.Exempt++
			}
			if c.leased[instance.ID] {
				continue
			}
			if launch, member := c.launchOf(instance); !member || launch.State == lease.LaunchDone {
				n.Unexplained++
				c.unexplained[instance.ID] = true
			}
		}
		c.seen[p.Place.String()] = n
	}
}

// Kinds of bad records, as stores name them.
const (
	badLease     = "lease"
	badHeartbeat = "heartbeat"
	badSweep     = "sweep"
)

// instanceOf returns what EC2 says of a leased instance, or nil.
func (c *situation) instanceOf(l *lease.Lease) *lease.Instance {
	return c.instances[seenAt{l.Place(), l.InstanceID}]
}

// say adds a verdict about a lease.
func (c *situation) say(l *lease.Lease, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: l.InstanceID, Token: l.Launch, Place: l.Place(), Zone: cmp.Or(l.ZoneID, l.Zone),
		Reason: reason, Lease: l, Instance: c.instanceOf(l),
	}
	c.verdicts = append(c.verdicts, verdict)
	return &c.verdicts[len(c.verdicts)-1]
}

// sayOf adds a verdict about an instance without a lease.
func (c *situation) sayOf(i *lease.Instance, launch *lease.Launch, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: i.ID, Place: i.Place, Zone: i.ZoneKey(), Reason: reason, Instance: i, Launch: launch,
		Unexplained: c.unexplained[i.ID],
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
