package janitor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lapse/lease"
)

// Names of brakes.
const (
	brakeSilence = "silence" // too many silent: the fault is likelier ours than theirs
	brakeRate    = "rate"    // too many ends that nobody declared
	brakeClock   = "clock"   // our clock and EC2's disagree
	brakeHealth  = "health"  // etcd or a listing is not to be trusted
)

type brakeKey struct{ name, scope string }

// trip notes that a brake is held.
func (c *situation) trip(name, scope, reason string) {
	key := brakeKey{name, scope}
	if _, held := c.brakes[key]; held {
		return
	}
	since := c.Now
	for _, before := range c.Snapshot.Sweep.Brakes {
		if before.Name == name && before.Scope == scope {
			since = before.Since
		}
	}
	c.brakes[key] = lease.Brake{Name: name, Scope: scope, Since: since, Reason: reason}
}

// hold adds a verdict about a lease that would be marked or ended, were it not for a brake.
func (c *situation) hold(l *lease.Lease, name, scope, would string) {
	verdict := c.say(l, ActHold, would+"; held by brake "+name)
	verdict.Brake = name
	if scope != "" {
		verdict.Reason += " (" + scope + ")"
	}
}

// placeBrakes trips what holds a whole place, or silences everywhere.
func (c *situation) placeBrakes() {
	for _, p := range c.Places {
		if !p.listed() {
			c.trip(brakeHealth, p.Place.String(), "listing failed: "+p.Err)
		}
		if why := p.clockTrouble(c.Policy.MaxSkew); why != "" {
			c.trip(brakeClock, p.Place.String(), why)
		}
	}
	if c.Policy.NoSilence {
		return
	}
	recent := 0
	for _, office := range c.Snapshot.Sweep.Offices {
		if c.Now.Sub(office).Abs() < c.Policy.OfficeWindow {
			recent++
		}
	}
	switch {
	case c.Office.Unhealthy != "":
		c.trip(brakeHealth, "", c.Office.Unhealthy)
	case !c.Office.Stamped:
		c.trip(brakeHealth, "", "new leader: no stamp of its own yet")
	case recent > c.Policy.OfficeMax:
		c.trip(brakeHealth, "", fmt.Sprintf("%d leaders took office within %s", recent, c.Policy.OfficeWindow))
	}
}

// silenceBrake returns the brake that holds a silent lease, if any.
func (c *situation) silenceBrake(l *lease.Lease) (name, scope string) {
	if _, held := c.brakes[brakeKey{brakeHealth, ""}]; held {
		return brakeHealth, ""
	}
	zone := c.instances[l.InstanceID].ZoneKey()
	for _, scope := range []string{zone, ""} {
		silent, all := c.silences.upTo(scope, time.Duration(l.TTL))
		if allowed := max(c.Policy.SilentMin, int(c.Policy.SilentShare*float64(all))); silent > allowed {
			c.trip(brakeSilence, scope, fmt.Sprintf("%d of %d are silent, more than %d", silent, all, allowed))
			return brakeSilence, scope
		}
	}
	return "", ""
}

// silences has, by zone and for the whole registry (""), the leases that could be judged by silence, by rising TTL.
type silences map[string][]silenceCount

// silenceCount is how many leases of at most this TTL there are, and how many of them are silent.
type silenceCount struct {
	ttl         time.Duration
	silent, all int
}

// countSilences counts over running leases, and over those revoked for silence a short while ago, which would otherwise
// make room for the next.
func (c *situation) countSilences() silences {
	counts := silences{}
	add := func(zone string, ttl lease.Duration, silent bool) {
		one := silenceCount{ttl: time.Duration(ttl), all: 1}
		if silent {
			one.silent = 1
		}
		counts[zone] = append(counts[zone], one)
		counts[""] = append(counts[""], one)
	}
	for i := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[i]
		instance := c.instances[l.InstanceID]
		switch {
		case l.TTL == 0:
		case l.Cause.Inferred() && c.Now.Sub(l.RevokedAt).Abs() < c.Policy.SilentMemory:
			add(cmp.Or(l.ZoneID, l.Zone), l.TTL, true)
		case l.State == lease.StateActive && instance != nil && instance.State == lease.InstanceRunning:
			s := c.Silences[l.InstanceID]
			if s.Broken || !c.booting(l, instance, s) {
				add(instance.ZoneKey(), l.TTL, !s.Broken)
			}
		}
	}
	for _, zone := range counts {
		slices.SortFunc(zone, func(a, b silenceCount) int { return cmp.Compare(a.ttl, b.ttl) })
		for i := 1; i < len(zone); i++ {
			zone[i].silent += zone[i-1].silent
			zone[i].all += zone[i-1].all
		}
	}
	return counts
}

// upTo returns how many leases of the scope have at most this TTL, and how many of them are silent.
func (s silences) upTo(scope string, ttl time.Duration) (silent, all int) {
	counts := s[scope]
	n, _ := slices.BinarySearchFunc(counts, ttl+1, func(c silenceCount, ttl time.Duration) int { return cmp.Compare(c.ttl, ttl) })
	if n == 0 {
		return 0, 0
	}
	return counts[n-1].silent, counts[n-1].all
}

// ration holds back ends, and marks, that nobody declared, beyond so many within a while. What was ended before is read
// from the records, so that it counts whoever did it. A launch that failed counts once, whatever it left.
func (c *situation) ration() {
	ended, marked, launches := c.recent()
	allowed := max(c.Policy.RateMin, int(c.Policy.RateShare*float64(c.healthy())))
	spent := len(launches) + ended
	sortVerdicts(c.verdicts)
	for i := range c.verdicts {
		v := &c.verdicts[i]
		switch {
		case v.Lease != nil && v.Lease.State == lease.StateRevoked:
			continue // authorised already
		case v.Action == ActOrphan && launches[v.Token]:
			continue // paid for
		case v.Action == ActMark && v.Cause.Inferred():
			if marked++; marked <= allowed {
				continue
			}
		case v.Action == ActOrphan || v.Action == ActEnd && v.Cause.Inferred():
			if spent++; spent <= allowed {
				if v.Action == ActOrphan {
					launches[v.Token] = true
				}
				continue
			}
		default:
			continue
		}
		c.trip(brakeRate, "", fmt.Sprintf("%d ends that nobody declared within %s are enough", allowed, c.Policy.RateWindow))
		v.Action, v.Brake, v.Reason = ActHold, brakeRate, v.Reason+"; held by brake "+brakeRate
		c.wake(c.Now.Add(time.Minute))
	}
}

// recent counts, within the rate's window, inferred ends and marks, and names launches that left orphans.
func (c *situation) recent() (ended, marked int, launches map[string]bool) {
	launches = map[string]bool{}
	within := func(t time.Time) bool { return !t.IsZero() && c.Now.Sub(t).Abs() < c.Policy.RateWindow }
	for i := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[i]
		switch {
		case within(l.RevokedAt) && l.Cause == lease.CauseFailedCreation:
			launches[l.Launch] = true
		case within(l.RevokedAt) && l.Cause.Inferred():
			ended++
		case l.Mark != nil && l.Mark.Cause.Inferred() && within(l.Mark.Since):
			marked++
		}
	}
	return ended, marked, launches
}

// healthy counts the leases beyond doubt: running, and beating if they are to. Only they may raise a limit, so that
// nothing dead or missing makes another one end sooner.
func (c *situation) healthy() int {
	n := 0
	for i := range c.Snapshot.Leases {
		l := &c.Snapshot.Leases[i]
		instance := c.instances[l.InstanceID]
		if l.State == lease.StateActive && instance != nil && instance.State == lease.InstanceRunning &&
			(l.TTL == 0 || c.Silences[l.InstanceID].Broken) {
			n++
		}
	}
	return n
}
