package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"lapse/lease"
)

// heartbeatsBrake returns the brake that holds a verdict about a lost heartbeat back, if any. The brakes of its zone and of
// the whole registry engage independently, and whatever else holds the verdict back. So all are named that a person would
// have to release, and none seems to be released when the leader changes.
func (c *planner) heartbeatsBrake(v *Verdict) (name, scope string) {
	at := zoneTimeout{cmp.Or(ZoneOf(v.Lease, v.Instance), nowhere), time.Duration(v.Lease.HeartbeatTimeout)}
	held, known := c.lost[at]
	if !known {
		held = c.engageHeartbeats(at)
		c.lost[at] = held
	}
	if _, ill := c.brakes[brakeKey{BrakeHealth, ""}]; ill {
		return BrakeHealth, ""
	}
	return held.name, held.scope
}

// engageHeartbeats engages the brakes of a zone and of the whole registry for leases of a timeout, and returns which.
func (c *planner) engageHeartbeats(of zoneTimeout) (engaged brakeKey) {
	for _, at := range []string{"", of.zone} {
		lost, all := c.losses.upTo(at, of.timeout)
		allowed := max(c.Policy.LostMin, int(c.Policy.LostShare*float64(all)))
		allowed = max(allowed, c.Registry.Allows(BrakeHeartbeats, at, c.Now, 2*c.Policy.LostMemory))
		if lost > allowed {
			c.trip(BrakeHeartbeats, at, fmt.Sprintf("%d of %d heartbeats are lost or in doubt, more than %d", lost, all, allowed))
			c.tallyBrake(BrakeHeartbeats, at, lost)
			engaged = brakeKey{BrakeHeartbeats, at}
		}
	}
	return engaged
}

// losses has, by zone and for the whole registry (""), the leases that count for the heartbeats brake, by rising timeout.
type losses map[string][]lossCount

// nowhere stands for the zone of a lease whose zone neither the record nor EC2 tells. It may be any zone: a heartbeat that is
// lost there counts in each.
const nowhere = "?"

// lossCount is how many leases of at most this timeout there are, and how many have lost their heartbeat.
type lossCount struct {
	heartbeatTimeout time.Duration
	lost, all        int
}

// zoneTimeout is what leases that count for the heartbeats brake have in common.
type zoneTimeout struct {
	zone    string
	timeout time.Duration
}

// lossCounts counts leases of the same zone and timeout. Most follow on one like them.
type lossCounts struct {
	by   map[zoneTimeout]*lossCount
	at   zoneTimeout
	last *lossCount
}

func (s *lossCounts) add(zone string, timeout lease.Duration, lost bool) {
	if at := (zoneTimeout{cmp.Or(zone, nowhere), time.Duration(timeout)}); s.last == nil || at != s.at {
		if s.at, s.last = at, s.by[at]; s.last == nil {
			s.last = &lossCount{heartbeatTimeout: at.timeout}
			s.by[at] = s.last
		}
	}
	s.last.all++
	if lost {
		s.last.lost++
	}
}

// byZone sums them up, by rising timeout.
func (s *lossCounts) byZone() losses {
	counts := losses{}
	for at, n := range s.by {
		counts[""] = append(counts[""], *n)
		counts[at.zone] = append(counts[at.zone], *n)
	}
	for _, zone := range counts {
		slices.SortFunc(zone, func(a, b lossCount) int { return cmp.Compare(a.heartbeatTimeout, b.heartbeatTimeout) })
		for i := 1; i < len(zone); i++ {
			zone[i].lost += zone[i-1].lost
			zone[i].all += zone[i-1].all
		}
	}
	return counts
}

// countLoss counts running leases, those recently revoked for a lost heartbeat (which would otherwise make room for the
// next), and those in doubt: a heartbeat is not found again because its instance is no longer listed, or because its record
// cannot be read. Only a lease that renews beyond doubt raises a limit.
func (c *planner) countLoss(counts *lossCounts, l *Row, renewing bool) {
	switch {
	case l.HeartbeatTimeout <= 0:
	case l.Cause.Inferred() && c.Now.Sub(l.RevokedAt).Abs() < c.Policy.LostMemory:
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, true)
	case l.State != lease.StateActive:
	case renewing:
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, false)
	case c.maybeLost(l):
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, true)
	}
}

// renewing reports whether a lease that is sound is renewed beyond doubt.
func (c *planner) renewing(l *Row) bool { return l.Renewal.Present && !c.doubted[l.InstanceID] }

// sound reports whether a lease holds by its date, and nothing about its instance is in doubt.
func (c *planner) sound(l *Row) bool {
	return l.State == lease.StateActive && l.Sound() && !c.over(l)
}

// maybeLost reports whether the heartbeat of an active lease is missing or in doubt, and would be judged if its instance ran.
// A lease is excused if EC2 says that its instance does not run, but not if EC2 no longer shows the instance.
func (c *planner) maybeLost(l *Row) bool {
	i, s := l.Instance, l.Renewal
	if l.location < 0 || i != nil && halted(i.State) {
		return false
	}
	return c.doubted[l.InstanceID] || !s.Present && (c.knownToRenew(l, i, s) || !c.booting(l, i, s))
}

// knownToRenew reports whether anything shows that a sidecar renewed since the instance last started. This leader may treat it
// as booting, because it has not seen it renew. But a new leader or a new listing must not make others terminate sooner.
func (c *planner) knownToRenew(l *Row, i *lease.Instance, s Renewal) bool {
	started := c.startOf(l, i)
	claimed := !l.ClaimedAt.IsZero() && !l.ClaimedAt.Before(started)
	judged := l.Mark != nil && l.Mark.Cause.Inferred() && !l.Mark.Since.Before(started)
	return s.EverSeen || claimed || judged
}

// halted reports whether EC2 says of an instance that it does not run.
func halted(state lease.InstanceState) bool {
	switch state {
	case lease.InstancePending, lease.InstanceStopping, lease.InstanceStopped, lease.InstanceShuttingDown, lease.InstanceTerminated:
		return true
	case lease.InstanceRunning:
	}
	return false
}

// ZoneOf is the zone of a lease: where EC2 shows its instance, or where its record says.
func ZoneOf(l *lease.Lease, i *lease.Instance) string {
	if i != nil && i.ZoneKey() != "" {
		return i.ZoneKey()
	}
	return cmp.Or(l.ZoneID, l.Zone)
}

// zoneOf is the zone of a lease, also of one whose instance EC2 no longer shows: it counts where it counted before.
func (c *planner) zoneOf(l *Row) string {
	if l.Instance != nil {
		return l.zone
	}
	return cmp.Or(l.Renewal.Zone, l.ZoneID, c.zoneIDs[SeenAt{l.Location(), l.Zone}], l.Zone)
}

// zoneSeen is the zone of an instance without a readable record; empty if EC2 does not show it.
func (c *planner) zoneSeen(id string) string {
	for n := range c.Locations {
		if i := c.instances[SeenAt{c.Locations[n].Location, id}]; i != nil {
			return i.ZoneKey()
		}
	}
	return ""
}

// upTo returns how many leases of the scope have at most this timeout, and how many of them are lost.
func (s losses) upTo(scope string, timeout time.Duration) (lost, all int) {
	lost, all = s.within(scope, timeout)
	if scope != "" && scope != nowhere {
		unplaced, _ := s.within(nowhere, timeout)
		lost, all = lost+unplaced, all+unplaced
	}
	return lost, all
}

func (s losses) within(scope string, timeout time.Duration) (lost, all int) {
	counts := s[scope]
	n := sort.Search(len(counts), func(i int) bool { return counts[i].heartbeatTimeout > timeout })
	if n == 0 {
		return 0, 0
	}
	return counts[n-1].lost, counts[n-1].all
}
