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
	c := newCase(v)
	for i := range v.Snapshot.Launches {
		c.settle(&v.Snapshot.Launches[i])
	}
	for i := range v.Snapshot.Leases {
		c.judge(&v.Snapshot.Leases[i])
	}
	for _, s := range c.unclear {
		c.unleased(s.location, s.instance)
	}
	for _, p := range v.Locations {
		c.judgeLeftovers(p)
	}
	c.holdStanding()
	c.ration()
	sortVerdicts(c.verdicts)
	c.outlived()
	return Plan{
		Verdicts: c.verdicts, Brakes: c.heldBrakes(), Next: c.next, Acting: c.acting, Seen: c.seen, Tags: c.tagWrites(),
	}
}

// situation is one decision in the making: the view, indexed, and what was concluded so far.
type situation struct {
	View
	location  map[lease.Location]LocationView
	instances map[SeenAt]*lease.Instance
	lease     map[string]*lease.Lease  // readable records by instance id
	zoneIDs   map[SeenAt]string        // ids of zones, by location and name: not every record tells them
	unclear   []shown                  // instances of which no record speaks that can be read
	bad       map[string][]string      // what is wrong with the records of an instance, by its id
	unread    map[string]bool          // instance ids whose lease cannot be read
	doubted   map[string]bool          // instance ids whose heartbeat cannot be read
	attempts  map[string]*lease.Launch // by client token
	leasesOf  map[string]int           // records by launch token, but for those of the unmanaged
	bearing   map[string]int           // listed instances by the launch token that they bear
	unbound   map[string]bool          // tokens of launches of which an instance is alive without a lease
	estates   map[string]*estate       // by token of the closed launch
	acting    map[string]time.Time
	seen      map[string]lease.Census // by location
	untracked map[string]bool         // instance ids that bear our tag and of which no record speaks
	behind    map[string]int64        // by instance id: the change that a sidecar has seen of its lease, if that is later than there is
	// unleasedAlive are the managed instances that are alive and of which no record of a lease speaks.
	unleasedAlive map[string]bool
	// leasedUnrecorded are those of them that were leased by their tag.
	leasedUnrecorded []string
	silences         silences
	brakes           map[brakeKey]lease.Brake
	verdicts         []Verdict
	next             time.Time

	asked  *lease.Lease // whose instance was asked for last, mostly several times in a row
	answer *lease.Instance
}

// shown is an instance where EC2 showed it.
type shown struct {
	location LocationView
	instance *lease.Instance
}

// SeenAt is an instance, or a zone, where EC2 showed it. Elsewhere than where its lease says, it is not the one that is
// meant.
type SeenAt struct {
	Location lease.Location
	ID       string
}

// Indexed finds instances by where EC2 showed them.
func Indexed(locations []LocationView) map[SeenAt]*lease.Instance {
	n := 0
	for _, p := range locations {
		n += len(p.Instances)
	}
	instances := make(map[SeenAt]*lease.Instance, n)
	for _, p := range locations {
		for i := range p.Instances {
			instances[SeenAt{p.Location, p.Instances[i].ID}] = &p.Instances[i]
		}
	}
	return instances
}

func newCase(v View) *situation {
	leases := len(v.Snapshot.Leases)
	c := &situation{
		View:          v,
		location:      map[lease.Location]LocationView{},
		instances:     v.Index,
		verdicts:      make([]Verdict, 0, leases+len(v.Snapshot.Launches)),
		bad:           map[string][]string{},
		doubted:       map[string]bool{},
		unread:        map[string]bool{},
		attempts:      map[string]*lease.Launch{},
		leasesOf:      map[string]int{},
		bearing:       map[string]int{},
		unbound:       map[string]bool{},
		lease:         make(map[string]*lease.Lease, leases),
		seen:          map[string]lease.Census{},
		zoneIDs:       map[SeenAt]string{},
		untracked:     map[string]bool{},
		behind:        map[string]int64{},
		unleasedAlive: map[string]bool{},
		brakes:        map[brakeKey]lease.Brake{},
	}
	for _, p := range v.Locations {
		c.location[p.Location] = p
	}
	if c.instances == nil {
		c.instances = Indexed(v.Locations)
	}
	c.indexRecords()
	c.count()
	c.estates = estatesOf(v.Snapshot, v.Now, v.Policy)
	c.acting = acting(v.Now, v.Snapshot.Registry, v.Snapshot.Checkpoint, v.Locations, v.Policy.MaxSkew)
	c.standingBrakes()
	c.engageByLocation()
	c.silences = c.countSilences()
	return c
}

func (c *situation) indexRecords() {
	for i := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[i]
		c.lease[l.InstanceID] = l
		if l.State != lease.StateUnmanaged {
			c.leasesOf[l.Launch]++
		}
	}
	for _, bad := range c.Snapshot.Bad {
		c.bad[bad.ID] = append(c.bad[bad.ID], bad.Err.Error())
		switch bad.Kind {
		case BadLease:
			c.unread[bad.ID] = true
		case BadHeartbeat:
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

// leased reports whether a lease speaks of an instance, readable or not. A heartbeat does not: an instance writes it itself.
func (c *situation) leased(id string) bool { return c.lease[id] != nil || c.unread[id] }

// count takes the census of what lives and bears a registry's tag, and of what was left of each launch.
func (c *situation) count() {
	for _, p := range c.Locations {
		var n lease.Census
		for i := range p.Instances {
			c.countInstance(p, &p.Instances[i], &n)
		}
		c.countUnlisted(p, &n)
		if p.Listed() {
			c.seen[p.Location.String()] = n
		}
	}
}

func (c *situation) countInstance(p LocationView, i *lease.Instance, n *lease.Census) {
	if at := (SeenAt{p.Location, i.Zone}); i.ZoneID != "" && c.zoneIDs[at] == "" {
		c.zoneIDs[at] = i.ZoneID
	}
	leased, alive := c.leased(i.ID), i.Alive()
	launch, member := c.launchOf(i)
	if launch != nil {
		c.bearing[launch.Token]++
		c.unbound[launch.Token] = c.unbound[launch.Token] || member && alive && !leased
	}
	if !leased || c.bad[i.ID] != nil {
		c.unclear = append(c.unclear, shown{p, i})
	}
	switch {
	case !alive || i.Tags[lease.TagRegistry] == "":
		return
	case !i.ManagedBy(c.Snapshot.Registry.UUID):
		n.Foreign++
		return
	}
	n.Managed++
	if i.Exempt() {
		n.Exempt++
	}
	if !leased && p.Listed() {
		c.unleasedAlive[i.ID] = true
		if i.Leased() {
			c.leasedUnrecorded = append(c.leasedUnrecorded, i.ID)
		}
	}
	if !leased && (!member || launch.State == lease.LaunchDone) {
		n.Untracked++
		if p.Listed() {
			c.untracked[i.ID] = true
		}
	}
}

// countUnlisted counts what a listing lacks of that which is leased. A few are nothing: listings lag behind, and somebody
// may have ended one. Many mean that EC2 does not tell all.
func (c *situation) countUnlisted(p LocationView, n *lease.Census) {
	for _, i := range p.Instances[len(p.Instances)-p.ByID:] {
		if l := c.lease[i.ID]; l != nil && l.Live() && i.Alive() {
			n.Unlisted++
		}
	}
	for id := range p.Absent {
		if l := c.lease[id]; l != nil && l.Live() && l.Location() == p.Location {
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

// instanceOf returns what EC2 says of a leased instance, or nil.
func (c *situation) instanceOf(l *lease.Lease) *lease.Instance {
	if c.asked != l {
		c.asked, c.answer = l, c.instances[SeenAt{l.Location(), l.InstanceID}]
	}
	return c.answer
}

// say adds a verdict about a lease.
func (c *situation) say(l *lease.Lease, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: l.InstanceID, Token: l.Launch, Location: l.Location(), Zone: cmp.Or(l.ZoneID, l.Zone),
		Reason: reason, Lease: l, Instance: c.instanceOf(l),
	}
	c.verdicts = append(c.verdicts, verdict)
	return &c.verdicts[len(c.verdicts)-1]
}

// sayOf adds a verdict about an instance without a lease.
func (c *situation) sayOf(i *lease.Instance, launch *lease.Launch, action Action, reason string) *Verdict {
	verdict := Verdict{
		Action: action, InstanceID: i.ID, Location: i.Location, Zone: i.ZoneKey(), Reason: reason, Instance: i, Launch: launch,
		Untracked: c.untracked[i.ID],
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
		Action: action, Token: l.Token, Location: l.Location(), Reason: reason, Launch: l,
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
