package janitor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"lapse/lease"
)

// standingBrakes trips what holds everything until a person looks: what stood before, and the evidence in what was
// observed that the registry was set back to an older state, which does not know of later extensions.
func (c *situation) standingBrakes() {
	for _, b := range c.Standing {
		c.brakes[brakeKey{b.Name, b.Scope}] = b
	}
	if token := c.unrecordedLaunch(); token != "" {
		c.stand(lease.BrakeRestored, "launch "+token+" is younger than the last stamp, and there is no record of it")
	}
	beating := 0
	for id, hb := range c.Snapshot.Heartbeats {
		if hb.Held {
			beating++
			if c.fellBehind(id, hb) {
				c.behind[id] = true
			}
		}
	}
	allowed := max(c.Policy.BehindMin, int(c.Policy.BehindShare*float64(beating)))
	if len(c.behind) > allowed {
		c.stand(lease.BrakeRestored, fmt.Sprintf("%d of %d sidecars have seen later changes of their leases than the registry holds, more than %d",
			len(c.behind), beating, allowed))
	}
	for n, id := range slices.Sorted(maps.Keys(c.behind)) {
		if n < behindNamed { // a stamp stays small
			c.trip(lease.BrakeRestored, id, "its sidecar has seen a later change of the lease than the registry holds")
		}
	}
}

// behindNamed is how many leases are named as brakes of their own. All are held.
const behindNamed = 10

// fellBehind reports whether a sidecar has seen a later change of its lease than there is, as far as can be read. Changes
// are only ever counted up, and both were read at one revision.
func (c *situation) fellBehind(id string, hb lease.Heartbeat) bool {
	if l := c.lease[id]; l != nil {
		return hb.Changes > l.Changes
	}
	unreadable := slices.ContainsFunc(c.Snapshot.Bad, func(bad lease.BadRecord) bool { return bad.Kind == badLease && bad.ID == id })
	return hb.Changes > 0 && (c.unexplained[id] || unreadable)
}

// unrecordedLaunch returns the token of a launch that was certainly not recorded in what was read: an instance of it is
// younger than the last stamp, and its record is written before it is created. Without a stamp there is no such launch.
func (c *situation) unrecordedLaunch() string {
	stamp := c.Snapshot.Sweep.Time
	first := ""
	for _, p := range c.Places {
		for i := range p.Instances {
			instance := &p.Instances[i]
			token, created := lease.LaunchToken(instance.ClientToken)
			created = created && instance.Tags[lease.TagLaunch] == instance.ClientToken
			if stamp.IsZero() || !created || !c.unexplained[instance.ID] ||
				c.attempts[instance.ClientToken] != nil || c.bad[token] != nil {
				continue
			}
			born, generated := lease.TokenTime(token)
			if !generated {
				born = instance.LaunchTime
			}
			if born.After(stamp.Add(c.Policy.MaxSkew)) && (first == "" || token < first) {
				first = token
			}
		}
	}
	return first
}

// holdStanding holds what standing brakes hold: everything, or what concerns one lease.
func (c *situation) holdStanding() {
	everything := ""
	for key, b := range c.brakes {
		if b.Standing() && (everything == "" || key.name < everything) {
			everything = key.name
		}
	}
	for n := range c.verdicts {
		v := &c.verdicts[n]
		brake := everything
		if brake == "" && c.behind[v.InstanceID] {
			brake = lease.BrakeRestored
		}
		if brake == "" || v.Action == ActKeep || v.Action == ActReport || v.Action == ActHold {
			continue
		}
		v.Action, v.Brake, v.Reason, v.Deadline = ActHold, brake, v.Reason+"; held by brake "+brake, time.Time{}
	}
	if everything != "" {
		c.acting = nil
	}
}

// standing are those of the brakes that are held until a person lifts them.
func standing(held []lease.Brake) []lease.Brake {
	var all []lease.Brake
	for _, b := range held {
		if b.Standing() {
			all = append(all, b)
		}
	}
	return all
}
