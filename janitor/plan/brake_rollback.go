package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"lapse/lease"
)

// raisedMemory is for how long a record that was behind its tag counts for the brake that says that the registry was set
// back.
const raisedMemory = time.Hour

// standingBrakes engages the brakes that hold everything back until a person releases them: those that were engaged before, and
// rollback if what was observed shows that the registry was set back to an older state, which lacks later extensions.
func (c *planner) standingBrakes() {
	for _, b := range c.Standing {
		c.brakes[brakeKey{b.Name, b.Scope}] = b
	}
	if token := c.unrecordedLaunch(); token != "" {
		c.stand(lease.BrakeRollback, "launch "+token+" is newer than the last checkpoint, but has no record")
	}
	c.setBackByTags()
	renewing := c.tallied.renewing
	for id := range c.strays { // of what has no record that can be read
		if hb := c.Heartbeats[id]; hb.Held && c.fellBehind(id, hb.Changes) {
			c.behind[id] = hb.Changes
			renewing++
		}
	}
	allowed := max(c.Policy.BehindMin, int(c.Policy.BehindShare*float64(renewing)))
	if len(c.behind) > allowed {
		c.stand(lease.BrakeRollback, fmt.Sprintf("%d of %d sidecars have seen later changes of their leases than the registry has, more than %d",
			len(c.behind), renewing, allowed))
	}
	c.rememberBehind()
}

// setBackByTags engages the brake if tags show that the registry was set back to an older state: many records are behind
// their tags, or an instance that had a lease has no record.
func (c *planner) setBackByTags() {
	older, all := c.tallied.older, c.tallied.comparable
	if allowed := max(c.Policy.BehindMin, int(c.Policy.BehindShare*float64(all))); older > allowed {
		c.stand(lease.BrakeRollback, fmt.Sprintf("%d of %d records were older than the tags of their instances within %s, more than %d",
			older, all, raisedMemory, allowed))
	}
	unrecorded := 0
	for _, said := range c.Registry.Resumed {
		if said.Name == lease.BrakeRollback && said.Scope == "" {
			unrecorded = max(unrecorded, said.Count)
		}
	}
	if n := len(c.leasedUnrecorded); n > unrecorded {
		c.stand(lease.BrakeRollback, fmt.Sprintf("%d instances, such as %s, had a lease by their tag %s, but no record mentions them",
			n, slices.Min(c.leasedUnrecorded), lease.TagLeased))
		c.tallyBrake(lease.BrakeRollback, "", n)
	}
}

// rollbackLifted is when a person last released the brake.
func (c *planner) rollbackLifted() (lifted time.Time) {
	for _, said := range c.Registry.Resumed {
		if said.Name == lease.BrakeRollback && said.Scope == "" {
			lifted = latest(lifted, said.At)
		}
	}
	return lifted
}

// countOlder counts a record that is older than its tag, or was so a short while ago, and after a date.
func (c *planner) countOlder(l *Row, since time.Time) {
	i := l.Instance
	if l.State != lease.StateActive || i == nil || !i.Alive() || l.kept != "" {
		return
	}
	c.tallied.comparable++
	if l.keys.State == lease.RecordBehind || l.raised && c.raisedSince(l, since) {
		c.tallied.older++
	}
}

// raisedSince reports whether the record of a lease was raised a short while ago, and after a date.
func (c *planner) raisedSince(l *Row, since time.Time) bool {
	return slices.ContainsFunc(l.History, func(h lease.Transition) bool {
		return h.Action == lease.ActionRaise && c.Now.Sub(h.Time).Abs() < raisedMemory && h.Time.After(since)
	})
}

// countBehind notes that a sidecar has seen a later change of its lease than there is. What is in doubt raises no limit, but
// what tells of trouble may be counted among all.
func (c *planner) countBehind(l *Row, sound bool) {
	if !l.Heartbeat.Held {
		return
	}
	later := l.Heartbeat.Changes > l.Changes
	if later {
		c.behind[l.InstanceID] = l.Heartbeat.Changes
	}
	if sound || later && l.Heartbeat.Changes > 0 {
		c.tallied.renewing++
	}
}

// behindNamed is how many leases a checkpoint names that are held back one by one, so that it stays small. All are held back.
const behindNamed = 100

// namedBehind are the first of the leases that are held back one by one.
func (c *planner) namedBehind() map[string]int64 {
	if len(c.behind) <= behindNamed {
		return c.behind
	}
	named := make(map[string]int64, behindNamed)
	for _, id := range slices.Sorted(maps.Keys(c.behind))[:behindNamed] {
		named[id] = c.behind[id]
	}
	return named
}

// rememberBehind takes over from the last checkpoint the leases that were held back because of what their sidecars had seen.
// When a sidecar stops or restarts, its evidence is gone, but that is no reason to terminate its instance. A lease that was
// revoked since is not held back: no later change undoes a revocation.
func (c *planner) rememberBehind() {
	for id, seen := range c.Checkpoint.Behind {
		if !c.fellBehind(id, seen) {
			continue
		}
		if l := c.Row(id); l != nil && (!l.Live() || l.Instance != nil && l.Instance.State == lease.InstanceTerminated) {
			continue
		}
		c.behind[id] = max(c.behind[id], seen)
	}
}

// fellBehind reports whether a sidecar that has seen so many changes of its lease knows a later one than there is, as
// far as can be read. Changes are only ever counted up, and both were read at one revision. An instance without a record
// of which a lease was seen has lost it, whatever became of its launch.
func (c *planner) fellBehind(id string, seen int64) bool {
	if l := c.Row(id); l != nil {
		return seen > l.Changes
	}
	unreadable := slices.ContainsFunc(c.Bad, func(bad lease.BadRecord) bool { return bad.Kind == BadLease && bad.ID == id })
	return seen > 0 && (c.unleasedAlive[id] || unreadable)
}

// unrecordedLaunch returns the token of a launch that was certainly not recorded in what was read: an instance of it is
// younger than the last checkpoint, and its record is written before it is created. Without a checkpoint there is no such launch.
func (c *planner) unrecordedLaunch() string {
	checkpoint := c.Checkpoint.Time
	if checkpoint.IsZero() {
		return ""
	}
	first := ""
	for _, seen := range c.unclear {
		i := seen.instance
		token, created := lease.LaunchToken(i.ClientToken)
		created = created && i.Tags[lease.TagLaunch] == i.ClientToken
		if !created || !c.untracked[i.ID] || c.attempts[i.ClientToken] != nil || c.bad[token] != nil {
			continue
		}
		born := i.LaunchTime
		if made, generated := lease.TokenTime(token); generated && made.Before(born) {
			born = made
		}
		if born.After(checkpoint.Add(c.Policy.MaxSkew)) && (first == "" || token < first) {
			first = token
		}
	}
	return first
}

// holdsAlone reports whether what its sidecar says holds one lease. That can be forged, so it keeps nothing once both keys
// have passed.
func (c *planner) holdsAlone(v *Verdict) bool {
	_, behind := c.behind[v.InstanceID]
	return behind && (v.Lease == nil || !c.bothPassed(c.Row(v.InstanceID)))
}

// holdStanding holds back what standing brakes hold back: everything, or what concerns one lease. A lease without a heartbeat
// is held back even if nothing is due yet, so that its timeout starts again when the brake is released.
func (c *planner) holdStanding() {
	everything := ""
	for key, b := range c.brakes {
		if b.Standing() && (everything == "" || key.name < everything) {
			everything = key.name
		}
	}
	if everything != "" {
		c.enforcing = nil
	} else if len(c.behind) == 0 {
		return
	}
	for n := range c.verdicts {
		v := &c.verdicts[n]
		brake, scope := everything, ""
		if brake == "" && c.holdsAlone(v) {
			brake, scope = lease.BrakeRollback, "this lease alone"
		}
		idle := v.Action == ActNone && v.Renewal == nil
		if brake == "" || idle || v.Action == ActReport || v.Action == ActHold || v.Action == ActRaise {
			continue // a record that is raised only makes something live longer
		}
		v.held(brake, scope)
	}
}
