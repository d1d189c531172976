package plan

import (
	"cmp"
	"time"

	"lapse/lease"
)

// settledLaunch is what the records say of a settled launch that may have left something.
type settledLaunch struct {
	launch  *LaunchRow
	since   time.Time       // the last event known after which something may have been left
	stirred time.Time       // the same, or a first sighting, if that came later
	active  string          // an instance whose lease was once active; empty if none was
	live    bool            // such a lease still does, or its instance was let go
	orphans map[string]bool // instances whose lease was never active
	ending  bool            // one of those is not known to have ended
	outlive map[string]bool // what the records say outlives them
	unread  bool            // a lease cannot be read, and may be one of the launch
	doubt   string          // why the records may not tell of every lease that there was
	pending bool            // something was seen that is to be removed, or may be later
}

// settledLaunches returns all settled launches that may have left something, by token.
func settledLaunches(j *Joined, now time.Time, p Policy) map[string]*settledLaunch {
	byToken := map[string]*settledLaunch{}
	for _, l := range j.Launches {
		if !l.MayLeave() {
			continue
		}
		e := &settledLaunch{launch: l, since: latest(l.SettledAt, l.LastSend()), orphans: map[string]bool{}, outlive: map[string]bool{}}
		for _, removed := range l.Removals {
			e.since = latest(e.since, removed)
		}
		byToken[l.Token] = e
	}
	if len(byToken) == 0 {
		return byToken
	}
	for n := range j.Rows {
		l := &j.Rows[n]
		switch {
		case l.launch != nil && l.launch.MayLeave():
			byToken[l.Launch].add(l, p)
		case l.Bore != "" && j.attempts[l.Bore] != nil && j.attempts[l.Bore].MayLeave():
			byToken[j.attempts[l.Bore].Token].add(l, p)
		}
	}
	unread := false
	for _, bad := range j.Bad {
		unread = unread || bad.Kind == BadLease
	}
	for _, e := range byToken {
		e.unread = unread
		e.doubt = e.whyDoubt(j, now, p)
		e.stirred = e.since
		for _, look := range e.launch.FirstSeen {
			e.stirred = latest(e.stirred, look)
		}
	}
	return byToken
}

// add takes in one lease of the launch, or one that was adopted with its tag.
func (e *settledLaunch) add(l *Row, p Policy) {
	switch {
	case l.WasActive() && l.State == lease.StateEnded:
		e.held(l.InstanceID)
		if p.DeleteKeptVolumes && e.launch.State == lease.LaunchClosed {
			e.since = latest(e.since, l.EndedAt)
		}
	case l.WasActive():
		e.held(l.InstanceID)
		e.live = true
	default:
		e.orphans[l.InstanceID] = true
		e.ending = e.ending || l.State != lease.StateEnded
		e.since = latest(e.since, l.EndedAt)
		for _, id := range l.Outlive {
			e.outlive[id] = true
		}
	}
}

// held notes an instance whose lease was active. Of several it names the first by id.
func (e *settledLaunch) held(id string) {
	if e.active == "" || id < e.active {
		e.active = id
	}
}

// whyDoubt says why there may have been a lease whose record is gone, or is empty. No record of a lease is
// let go within the retention, counted from its end, so none is missing before that has passed from the launch on. A
// registry that was set back may have lost any that there was by then, and shows the launch as it was before.
func (e *settledLaunch) whyDoubt(j *Joined, now time.Time, p Policy) string {
	for _, id := range e.launch.Instances() {
		if j.Row(id) == nil && !e.unread {
			return "no record says whether the lease of " + id + " was ever active"
		}
	}
	return e.whyLost(j, now, p)
}

// whyLost says why a record of one of its leases may be gone, whichever, or is empty.
func (e *settledLaunch) whyLost(j *Joined, now time.Time, p Policy) string {
	if e.unread {
		return "a lease record cannot be read, and it may belong to its launch"
	}
	if !now.Before(e.launch.CreatedAt.Add(p.Retention)) {
		return "records of its leases may have been deleted"
	}
	for _, said := range j.Registry.Resumed {
		if said.Standing() && !said.At.Before(e.launch.CreatedAt) {
			return "the registry was set back after its launch, and may have lost its leases"
		}
	}
	return ""
}

// cleared reports whether a full listing found nothing more to remove, and nothing has ended since.
func (e *settledLaunch) cleared() bool {
	return !e.launch.ClearedAt.IsZero() && !e.launch.ClearedAt.Before(e.since)
}

// due reports whether to list the leftovers, which costs calls, if they were last listed so long ago. What is not settled soon
// is listed more and more rarely: after an eighth of the time that has passed, at most RetryMax.
func (e *settledLaunch) due(now time.Time, looked time.Duration, p Policy) bool {
	return !e.cleared() && e.launch.Quiet(now) && looked >= min(p.RetryMax, now.Sub(e.stirred)/8)
}

// Keyed returns the launches whose instances are looked for by their key pairs: see [lease.Launch.Sought].
func Keyed(j *Joined) []*lease.Launch {
	var keyed []*lease.Launch
	for _, l := range j.Launches {
		if len(l.Sought()) > 0 {
			keyed = append(keyed, l.Launch)
		}
	}
	return keyed
}

// DueLeftovers returns the settled launches whose leftovers are due to be listed, given how long ago those of each were last
// listed.
func DueLeftovers(j *Joined, now time.Time, p Policy, looked func(token string) time.Duration) []*lease.Launch {
	var due []*lease.Launch
	for token, e := range settledLaunches(j, now, p) {
		if e.due(now, looked(token), p) {
			due = append(due, e.launch.Launch)
		}
	}
	return due
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// judgeLeftovers decides about what settled launches left in a location, and about whether that was all.
func (c *planner) judgeLeftovers(p *LocationView) {
	c.doubtByTags(p)
	for i := range p.Leftovers {
		c.judgeLeftover(p, &p.Leftovers[i])
	}
	for _, token := range p.Sought {
		e := c.settled[token]
		switch {
		case e == nil:
		case p.LeftoverErr != "":
			c.proposeForLaunch(e.launch, ActReport, "its leftovers cannot be listed: "+p.LeftoverErr)
		case e.pending || e.ending || c.unbound[token] || e.cleared() || !e.launch.Quiet(c.Now):
		case c.Now.Before(e.since.Add(c.Policy.OrphanGrace)) || !p.Listed() || p.Kept || p.ClockTrouble(c.Policy.MaxSkew) != "":
		default:
			c.proposeForLaunch(e.launch, ActClear, string(e.launch.State)+", and it has no leftovers to remove")
		}
	}
}

// doubtByTags notes the launches for which a leftover's tag shows that a lease was active, although no record does:
// then the leases of the others may have been active too, and may have ended before a leader could write that to their
// tags.
func (c *planner) doubtByTags(p *LocationView) {
	for i := range p.Leftovers {
		x := &p.Leftovers[i]
		if e := c.settledLaunchOf(x); e != nil && e.doubt == "" && x.Leased() && x.ManagedBy(c.Registry.UUID) {
			e.doubt = "the tag " + lease.TagLeased + " of " + x.ID + " says that a lease of its launch was active"
		}
	}
}

// judgeLeftover decides about one leftover. What spares it comes first.
func (c *planner) judgeLeftover(p *LocationView, x *lease.Leftover) {
	e := c.settledLaunchOf(x)
	if e == nil {
		c.proposeForLeftover(x, nil, ActReport, "untracked: its launch tag names no settled launch")
		return
	}
	switch why := keepLeftover(c.Registry, *e.launch.Launch, *x); {
	case why != "":
		_, tagged := x.Tags[lease.TagRegistry]
		e.pending = e.pending || x.Kind == lease.LeftoverKeyPair && !tagged && !x.Exempt() // or nobody would name it again
		c.proposeForLeftover(x, e, ActReport, why)
	case !e.mayLeave(x):
		c.proposeForLeftover(x, e, ActNone, "its launch is done, and nothing says that an instance beyond the number asked for left it")
	case x.Gone():
		c.proposeForLeftover(x, e, ActNone, x.State)
	case x.Passing():
		e.pending = true
		c.proposeForLeftover(x, e, ActNone, x.State)
	case x.Attached && (e.orphans[x.InstanceID] || c.onUnleased(e, x)):
		e.pending = true
		c.proposeForLeftover(x, e, ActNone, "still attached to "+x.InstanceID)
	case x.Attached:
		c.proposeForLeftover(x, e, ActNone, "attached to "+cmp.Or(x.InstanceID, "something other than an instance"))
	case !x.Loose():
		c.proposeForLeftover(x, e, ActReport, "EC2 says "+x.State)
	case x.Kind == lease.LeftoverSpot && x.InstanceID != "":
		c.judgeFulfilled(p, e, x)
	case x.Leased() && !e.letsGo(x, c.Policy):
		c.proposeForLeftover(x, e, ActReport, "kept: its tag "+lease.TagLeased+" says that a lease was active")
	case e.wanted(x, c.Policy) != "":
		e.pending = e.pending || e.unread
		c.proposeForLeftover(x, e, ActReport, "kept: "+e.wanted(x, c.Policy))
	default:
		c.condemnLeftover(p, e, x)
	}
}

// mayLeave reports whether the launch may have left something as what a failed creation leaves. One that is done has left its
// key pairs, and what was of an instance beyond the number asked for; all else is its instances', as after any launch.
func (e *settledLaunch) mayLeave(x *lease.Leftover) bool {
	if e.launch.State == lease.LaunchClosed || x.Kind == lease.LeftoverKeyPair {
		return true
	}
	return e.outlive[x.ID] || x.InstanceID != "" && e.orphans[x.InstanceID]
}

// letsGo reports whether a volume that was leased by its tag may be removed all the same: so it was asked, and its lease has
// ended on record.
func (e *settledLaunch) letsGo(x *lease.Leftover, p Policy) bool {
	return x.Kind == lease.LeftoverVolume && p.DeleteKeptVolumes && e.active != "" && !e.live
}

// onUnleased reports whether what a leftover is attached to is of the same launch and never had a lease: it may outlive that,
// whoever terminates it.
func (c *planner) onUnleased(e *settledLaunch, x *lease.Leftover) bool {
	i := c.instances[SeenAt{x.Location, x.InstanceID}]
	if i == nil || c.leased(x.InstanceID) {
		return false
	}
	launch, member := c.launchOf(i)
	return member && launch.Token == e.launch.Token
}

// settledLaunchOf returns the settled launch that the leftover's tag names, or the name of a key pair; or nil.
func (c *planner) settledLaunchOf(x *lease.Leftover) *settledLaunch {
	if clientToken, is := lease.KeyOf(c.Registry.UUID, x.Name); is && c.attempts[clientToken] != nil {
		return c.settled[c.attempts[clientToken].Token]
	}
	if l := c.attempts[x.Tags[lease.TagLaunch]]; l != nil {
		return c.settled[l.Token]
	}
	return nil
}

// wanted says why somebody may want a volume or an interface that nothing uses, or is empty.
func (e *settledLaunch) wanted(x *lease.Leftover, p Policy) string {
	sure := e.active == "" && e.doubt == ""
	held := "the lease of " + e.active + " was once active"
	switch {
	case sure || x.Kind == lease.LeftoverSpot || x.Kind == lease.LeftoverKeyPair:
		return ""
	case x.Kind == lease.LeftoverInterface && e.outlive[x.ID]:
		return "" // it was attached to what a failed creation left
	case x.Kind == lease.LeftoverVolume && p.DeleteKeptVolumes && !e.unread:
		if e.live {
			return "a lease of its launch has not ended"
		}
		return ""
	case e.active == "":
		return e.doubt
	case x.Kind == lease.LeftoverVolume:
		return held + "; --delete-kept-volumes removes it"
	}
	return held
}

// judgeFulfilled decides about a spot request that made an instance. Cancelling it terminates nothing, and keeps it from
// making another.
func (c *planner) judgeFulfilled(p *LocationView, e *settledLaunch, x *lease.Leftover) {
	i := c.instances[SeenAt{x.Location, x.InstanceID}]
	switch {
	case c.unread[x.InstanceID]:
		e.pending = true
		c.proposeForLeftover(x, e, ActReport, "fulfilled by "+x.InstanceID+", whose records cannot be read")
	case e.orphans[x.InstanceID]:
		c.condemnLeftover(p, e, x)
	case c.leased(x.InstanceID):
		c.proposeForLeftover(x, e, ActNone, "fulfilled by "+x.InstanceID+", which has a lease")
	case i == nil:
		c.proposeForLeftover(x, e, ActReport, "fulfilled by "+x.InstanceID+", about which nothing is known")
	default:
		launch, member := c.launchOf(i)
		if !member || launch.Token != e.launch.Token {
			c.proposeForLeftover(x, e, ActReport, "fulfilled by "+x.InstanceID+", whose client token does not belong to its launch")
			return
		}
		c.condemnLeftover(p, e, x)
	}
}

// condemnLeftover removes what is loose and wanted by nobody. As with orphans, it takes two full listings.
func (c *planner) condemnLeftover(p *LocationView, e *settledLaunch, x *lease.Leftover) {
	e.pending = true
	left := leftBy(e.launch.Launch)
	first, seen := e.launch.FirstSeen[x.ID]
	c.needs = needsListing | needsClock
	switch {
	case p.Kept:
		c.proposeForLeftover(x, e, ActNone, left+"; its location must be listed first")
	case !e.launch.Quiet(c.Now):
		c.proposeForLeftover(x, e, ActNone, left+"; something of it may still appear")
	case !seen || c.toCome(first):
		c.proposeForLeftover(x, e, ActFirstSeen, left+"; first sighting")
	case c.Now.Before(first.Add(c.Policy.OrphanGrace)):
		c.proposeForLeftover(x, e, ActNone, left+"; first seen "+first.Format(time.RFC3339))
	default:
		c.proposeForLeftover(x, e, ActRemove, left)
	}
}

// leftBy says which launch left something.
func leftBy(l *lease.Launch) string {
	if l.State == lease.LaunchClosed {
		return "left by launch " + l.Token + ", which was closed"
	}
	return "left by launch " + l.Token + ", which is " + string(l.State)
}

// proposeForLeftover adds a verdict about a leftover.
func (c *planner) proposeForLeftover(x *lease.Leftover, e *settledLaunch, action Action, reason string) *Verdict {
	verdict := Verdict{Action: action, Location: x.Location, Reason: reason, Leftover: x}
	if e != nil {
		verdict.Token, verdict.Launch = e.launch.Token, e.launch.Launch
	}
	return c.add(verdict)
}
