package plan

import (
	"cmp"
	"slices"
	"time"

	"lapse/lease"
)

// judgeLaunch decides about one launch: whether its window has passed, and whether its record is still needed.
func (c *planner) judgeLaunch(l *LaunchRow) {
	n, swept := c.location[l.Location()]
	if !swept {
		return
	}
	p := &c.Locations[n]
	if !p.Listed() || p.Kept || p.ClockTrouble(c.Policy.MaxSkew) != "" {
		return // a launch is judged only by date and by a full listing
	}
	if l.State != lease.LaunchOpen {
		c.judgeLaunchTombstone(l)
		return
	}
	if !l.WindowOver(c.Now) {
		c.wake(l.LastSend().Add(time.Duration(l.Window)))
		return
	}
	if c.complete(l) {
		c.proposeForLaunch(l, ActComplete, "its launch window has passed, and every instance that EC2 returned has a lease")
		return
	}
	c.proposeForLaunch(l, ActClose, "its launch window has passed, and an outcome is unknown or an instance is not bound")
}

// complete reports whether nothing of the launch is in doubt, and everything that EC2 answered with or shows has its
// lease. An attempt without an outcome is in doubt even if it says that it was not sent.
func (c *planner) complete(l *LaunchRow) bool {
	if c.unbound[l.Token] || slices.ContainsFunc(l.Attempts, func(a lease.Attempt) bool { return a.Outcome == "" }) {
		return false
	}
	return !slices.ContainsFunc(l.Instances(), func(id string) bool { return !c.leased(id) })
}

// judgeLaunchTombstone deletes the record of a launch when nothing refers to it any longer: no lease, no instance. A
// token that somebody chose is kept for longer, since it cannot be refused by its own date; that of a date still to come
// when the launch was over cannot be for too long.
func (c *planner) judgeLaunchTombstone(l *LaunchRow) {
	if l.SettledAt.IsZero() || c.Now.Before(l.SettledAt.Add(c.Policy.Retention)) || l.leases > 0 {
		return
	}
	made, generated := lease.TokenTime(l.Token)
	if chosen := !generated || made.After(l.SettledAt); chosen && c.Now.Before(l.SettledAt.Add(c.Policy.ChosenRetention)) {
		return
	}
	if e := c.settled[l.Token]; e != nil && !e.cleared() {
		return // without the record, nothing that it left could be explained
	}
	unread := func(id string) bool { return c.unread[id] }
	if c.bears(l.Token) || slices.ContainsFunc(l.Instances(), unread) {
		return
	}
	c.proposeForLaunch(l, ActPurge, string(l.State)+" since "+l.SettledAt.Format(time.RFC3339))
}

// unleased decides about an instance without a lease.
func (c *planner) unleased(i *lease.Instance) {
	if c.leased(i.ID) {
		c.unreadable(i)
		return
	}
	launch, member := c.launchOf(i)
	tagged := i.BearsLapse()
	switch {
	case member && launch.Anima == lease.AnimaKeyPair && !tagged && i.Alive():
		c.judgeUntagged(launch, i)
	case i.Tags[lease.TagRegistry] == "":
		c.proposeFor(i, nil, ActReport, "not managed")
	case !i.Alive():
		c.proposeFor(i, launch, ActNone, string(i.State))
	case !i.ManagedBy(c.Registry.UUID):
		c.proposeFor(i, nil, ActReport, "foreign: bears another registry's tag")
	case i.Exempt():
		c.proposeFor(i, launch, ActReport, "exempt by its tag "+lease.TagExempt)
	case !member && launch != nil:
		c.proposeFor(i, nil, ActReport, "untracked: its launch tag differs from its client token, so the tag was copied")
	case !member:
		c.proposeFor(i, nil, ActReport, "untracked: no record mentions it")
	case launch.State == lease.LaunchOpen:
		c.proposeFor(i, launch, ActNone, "being launched")
	case launch.State == lease.LaunchDone && launch.Anima == lease.AnimaKeyPair && !slices.Contains(launch.Instances(), i.ID):
		c.judgeOrphan(launch, i, "launched by "+launch.Token+" beyond the number asked for, because its endpoint ignores client tokens")
	case launch.State == lease.LaunchDone:
		c.proposeFor(i, launch, ActReport, "untracked: its launch is done, and it has no lease")
	case launch.State == lease.LaunchClosed:
		c.judgeOrphan(launch, i, leftBy(launch))
	default:
		c.proposeFor(i, launch, ActReport, "its launch is "+string(launch.State)+", a state that this version does not know")
	}
}

// judgeUntagged decides about an instance of a launch that shows its key pair and bears no tag of Lapse at all: its endpoint
// drops the tags of the creating call, and the launcher died before it set them. If somebody took the registry's tag off, the
// others are there. The janitor cannot terminate it without the tag,
// and sets the tag only if it may. Then it is judged as any other.
func (c *planner) judgeUntagged(launch *lease.Launch, i *lease.Instance) {
	e := c.settled[launch.Token]
	switch {
	case e == nil:
		c.proposeFor(i, launch, ActNone, "being launched")
		return
	case launch.State == lease.LaunchDone && slices.Contains(launch.Instances(), i.ID):
		c.proposeFor(i, launch, ActReport, "its launch is done, and it has neither a lease nor the tag "+lease.TagRegistry)
		return
	}
	reason := leftBy(launch) + ", and it lacks the tag " + lease.TagRegistry
	_, once := launch.FirstSeen[i.ID] // noted of what bears the tag alone
	switch lost := e.whyLost(c.Joined, c.Now, c.Policy); {
	case once:
		reason += ", which somebody took off"
	case lost != "":
		reason += "; " + lost
	case c.Policy.CompleteAdoptions:
		c.untaggedMembers = append(c.untaggedMembers, i)
		reason += ", which the janitor sets"
	}
	v := c.proposeFor(i, launch, ActReport, reason)
	v.Kept = lease.KeptUntagged
	if gone := latest(launch.SettledAt, cmp.Or(i.Existed, i.LaunchTime)); !c.Now.Before(gone.Add(lease.OverdueAfter)) {
		v.Overdue = lease.Overdue{Reason: lease.KeptUntagged, Since: gone}
	}
}

// unreadable reports an instance of which a record cannot be read.
func (c *planner) unreadable(i *lease.Instance) {
	for n, reason := range c.bad[i.ID] {
		v := c.proposeFor(i, nil, ActReport, reason)
		if n == 0 && c.unread[i.ID] && i.Alive() && i.ManagedBy(c.Registry.UUID) && i.Expiry().Passed(c.Now, lease.OverdueAfter) {
			v.Overdue = lease.Overdue{Reason: lease.KeptUnreadable, Since: i.Expiry().At}
		}
	}
}

// launchOf returns the launch that the instance's key pair names, or else its tag, and whether the instance is really of it.
func (c *planner) launchOf(i *lease.Instance) (*lease.Launch, bool) {
	launch := c.attempts[i.Tags[lease.TagLaunch]]
	if clientToken, is := lease.KeyOf(c.Registry.UUID, i.KeyName); is && c.attempts[clientToken] != nil {
		launch = c.attempts[clientToken]
	}
	if launch == nil {
		return nil, false
	}
	_, member := launch.Member(*i)
	return launch.Launch, member && launch.Location() == i.Location
}

// judgeOrphan decides about an instance that a settled launch left without a lease. It takes two full listings.
func (c *planner) judgeOrphan(launch *lease.Launch, i *lease.Instance, left string) {
	if why := leasedByTag(launch, i); why != "" {
		c.proposeFor(i, launch, ActReport, left+"; but "+why+", and no record of that lease exists")
		return
	}
	c.needs = needsListing | needsClock
	first, seen := launch.FirstSeen[i.ID]
	if !seen || c.toCome(first) {
		c.proposeFor(i, launch, ActFirstSeen, left+"; first sighting")
		return
	}
	ripe := first.Add(c.Policy.OrphanGrace)
	if c.Now.Before(ripe) {
		c.wake(ripe)
		c.proposeFor(i, launch, ActNone, left+"; first seen "+first.Format(time.RFC3339))
		return
	}
	orphan := c.proposeFor(i, launch, ActOrphan, left)
	orphan.Cause, orphan.Due = lease.CauseFailedCreation, ripe
}
