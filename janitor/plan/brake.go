package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"lapse/lease"
)

// Names of brakes; those that a person can lift are [lease.BrakeHeartbeats] and the like.
const (
	BrakeHeartbeats = lease.BrakeHeartbeats
	BrakeRate       = "rate"   // too many ends that nobody declared
	BrakeClock      = "clock"  // our clock and EC2's disagree
	BrakeHealth     = "health" // etcd or a listing is not to be trusted
)

type brakeKey struct{ name, scope string }

// trip notes that a brake is held. Of several reasons one is kept, whatever the order in which they were found.
func (c *situation) trip(name, scope, reason string) {
	key := brakeKey{name, scope}
	if before, held := c.brakes[key]; held && before.Reason <= reason {
		return
	}
	since := c.Now
	for _, before := range c.Registry.Stands(c.Checkpoint.Brakes) { // one that was lifted, and trips again, is another
		if before.Name == name && before.Scope == scope {
			since = before.Since
		}
	}
	c.brakes[key] = lease.Brake{Name: name, Scope: scope, Since: since, Reason: reason, Count: c.brakes[key].Count}
}

// stand trips a brake that holds everything until a person lifts it. It is another one than any that was lifted.
func (c *situation) stand(name, reason string) {
	key := brakeKey{name, ""}
	if _, held := c.brakes[key]; !held {
		c.brakes[key] = lease.Brake{Name: name, Since: c.Now.UTC().Truncate(time.Millisecond), Reason: reason}
	}
}

// tallyBrake notes how many tripped a brake: the most of those counted.
func (c *situation) tallyBrake(name, scope string, n int) {
	b := c.brakes[brakeKey{name, scope}]
	b.Count = max(b.Count, n)
	c.brakes[brakeKey{name, scope}] = b
}

// hold adds a verdict about a lease that would be marked or ended, were it not for a brake.
func (c *situation) hold(l *Row, name, scope, would string) {
	verdict := c.say(l, ActHold, would+"; held by brake "+name)
	verdict.Brake = name
	if scope != "" {
		verdict.Reason += " (" + scope + ")"
	}
}

// engageByLocation trips what holds a whole location, or silences everywhere.
func (c *situation) engageByLocation() {
	for n := range c.Locations {
		p := &c.Locations[n]
		if !p.Listed() {
			c.trip(BrakeHealth, p.Location.String(), "listing failed: "+p.Err)
		}
		if why := p.ClockTrouble(c.Policy.MaxSkew); why != "" {
			c.trip(BrakeClock, p.Location.String(), why)
		}
	}
	if c.Policy.NoSilence {
		return
	}
	recent := slices.DeleteFunc(slices.Clone(c.Checkpoint.Leaderships), func(leadership time.Time) bool {
		return c.Now.Sub(leadership).Abs() >= c.Policy.LeadershipWindow
	})
	slices.SortFunc(recent, time.Time.Compare)
	switch {
	case c.Leadership.Unhealthy != "":
		c.trip(BrakeHealth, "", c.Leadership.Unhealthy)
	case !c.Leadership.Checkpointed:
		c.trip(BrakeHealth, "", "new leader: no checkpoint of its own yet")
		b := c.brakes[brakeKey{BrakeHealth, ""}]
		b.Starting = true
		c.brakes[brakeKey{BrakeHealth, ""}] = b
	case len(recent) > c.Policy.LeadershipMax:
		lifts := recent[len(recent)-1-c.Policy.LeadershipMax].Add(c.Policy.LeadershipWindow)
		c.trip(BrakeHealth, "", fmt.Sprintf("%d leaders became leader within %s; lifts at %s if no other does",
			len(recent), c.Policy.LeadershipWindow, lifts.UTC().Format(time.RFC3339)))
	}
}

// silenceBrake returns the brake that holds a silent lease, if any. Those of its zone and of the whole registry trip each
// for themselves, and whatever else holds it, so that all are named that a person would have to lift, and none seems to be
// lifted when the leader changes.
func (c *situation) silenceBrake(l *Row) (name, scope string) {
	for _, at := range []string{"", cmp.Or(c.zoneOf(l), nowhere)} {
		silent, all := c.silences.upTo(at, time.Duration(l.HeartbeatTimeout))
		allowed := max(c.Policy.SilentMin, int(c.Policy.SilentShare*float64(all)))
		allowed = max(allowed, c.Registry.Allows(BrakeHeartbeats, at, c.Now, 2*c.Policy.SilentMemory))
		if silent > allowed {
			c.trip(BrakeHeartbeats, at, fmt.Sprintf("%d of %d are silent or in doubt, more than %d", silent, all, allowed))
			c.tallyBrake(BrakeHeartbeats, at, silent)
			name, scope = BrakeHeartbeats, at
		}
	}
	if _, held := c.brakes[brakeKey{BrakeHealth, ""}]; held {
		return BrakeHealth, ""
	}
	return name, scope
}

// silences has, by zone and for the whole registry (""), the leases that count for the heartbeats brake, by rising timeout.
type silences map[string][]silenceCount

// nowhere stands for the zone of a lease of which neither the record nor EC2 tells the zone. It may be any: what is
// silent there counts in each.
const nowhere = "?"

// silenceCount is how many leases of at most this timeout there are, and how many of them are silent.
type silenceCount struct {
	heartbeatTimeout time.Duration
	silent, all      int
}

// zoneTimeout is what leases that count for the heartbeats brake have in common.
type zoneTimeout struct {
	zone    string
	timeout time.Duration
}

// silenceCounts counts leases of the same zone and timeout. Most follow on one like them.
type silenceCounts struct {
	by   map[zoneTimeout]*silenceCount
	at   zoneTimeout
	last *silenceCount
}

func (s *silenceCounts) add(zone string, timeout lease.Duration, silent bool) {
	if at := (zoneTimeout{cmp.Or(zone, nowhere), time.Duration(timeout)}); s.last == nil || at != s.at {
		if s.at, s.last = at, s.by[at]; s.last == nil {
			s.last = &silenceCount{heartbeatTimeout: at.timeout}
			s.by[at] = s.last
		}
	}
	s.last.all++
	if silent {
		s.last.silent++
	}
}

// byZone sums them up, by rising timeout.
func (s *silenceCounts) byZone() silences {
	counts := silences{}
	for at, n := range s.by {
		counts[""] = append(counts[""], *n)
		counts[at.zone] = append(counts[at.zone], *n)
	}
	for _, zone := range counts {
		slices.SortFunc(zone, func(a, b silenceCount) int { return cmp.Compare(a.heartbeatTimeout, b.heartbeatTimeout) })
		for i := 1; i < len(zone); i++ {
			zone[i].silent += zone[i-1].silent
			zone[i].all += zone[i-1].all
		}
	}
	return counts
}

// countSilence counts over running leases, over those revoked for silence a short while ago, which would otherwise make
// room for the next, and over what is in doubt: a silence does not end because its instance is not listed any more, or
// because its record cannot be read. Only what beats, and is beyond doubt, raises a limit.
func (c *situation) countSilence(counts *silenceCounts, l *Row, renewing bool) {
	switch {
	case l.HeartbeatTimeout <= 0:
	case l.Cause.Inferred() && c.Now.Sub(l.RevokedAt).Abs() < c.Policy.SilentMemory:
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, true)
	case l.State != lease.StateActive:
	case renewing:
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, false)
	case c.maybeSilent(l):
		counts.add(c.zoneOf(l), l.HeartbeatTimeout, true)
	}
}

// renewing reports whether a lease that is sound is renewed beyond doubt.
func (c *situation) renewing(l *Row) bool { return l.Silence.Broken && !c.doubted[l.InstanceID] }

// sound reports whether a lease holds by its date, and nothing about its instance is in doubt.
func (c *situation) sound(l *Row) bool {
	return l.State == lease.StateActive && l.Sound() && !c.over(l)
}

// maybeSilent reports whether an active lease is silent, or not known to be renewed, and would be judged for it if its
// instance ran. EC2's word that it does not run excuses it; that EC2 does not show it any more is no such word.
func (c *situation) maybeSilent(l *Row) bool {
	i, s := l.Instance, l.Silence
	if l.location < 0 || i != nil && halted(i.State) {
		return false
	}
	return c.doubted[l.InstanceID] || !s.Broken && (c.heard(l, i, s) || !c.booting(l, i, s))
}

// heard reports whether somebody knows that a sidecar beat since the instance started last. It may be judged as one that
// boots, for this leader has not seen it beat; but others are not to end sooner because the leader, or the listing, is new.
func (c *situation) heard(l *Row, i *lease.Instance, s Silence) bool {
	started := c.startOf(l, i)
	claimed := !l.ClaimedAt.IsZero() && !l.ClaimedAt.Before(started)
	judged := l.Mark != nil && l.Mark.Cause.Inferred() && !l.Mark.Since.Before(started)
	return s.Heard || claimed || judged
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

// zoneOf is the zone of a lease, also of one whose instance is not shown any more: it counts where it counted before.
func (c *situation) zoneOf(l *Row) string {
	if l.Instance != nil {
		return l.zone
	}
	return cmp.Or(l.Silence.Zone, l.ZoneID, c.zoneIDs[SeenAt{l.Location(), l.Zone}], l.Zone)
}

// zoneSeen is the zone of an instance of which no record can be read; empty if EC2 does not show it.
func (c *situation) zoneSeen(id string) string {
	for n := range c.Locations {
		if i := c.instances[SeenAt{c.Locations[n].Location, id}]; i != nil {
			return i.ZoneKey()
		}
	}
	return ""
}

// upTo returns how many leases of the scope have at most this timeout, and how many of them are silent.
func (s silences) upTo(scope string, timeout time.Duration) (silent, all int) {
	silent, all = s.within(scope, timeout)
	if scope != "" && scope != nowhere {
		lost, _ := s.within(nowhere, timeout)
		silent, all = silent+lost, all+lost
	}
	return silent, all
}

func (s silences) within(scope string, timeout time.Duration) (silent, all int) {
	counts := s[scope]
	n := sort.Search(len(counts), func(i int) bool { return counts[i].heartbeatTimeout > timeout })
	if n == 0 {
		return 0, 0
	}
	return counts[n-1].silent, counts[n-1].all
}

// ration holds back ends, and marks, that nobody declared, beyond so many within a while. What was ended before is read
// from the records, so that it counts whoever did it. A launch that failed counts once, whatever it left; launches are
// served by token and leases by id, so that one more of either can only take another's location.
func (c *situation) ration() {
	t := &c.tallied
	ended, marked, failed := t.ended, t.marked, t.failed
	allowed := max(c.Policy.RateMin, int(c.Policy.RateShare*float64(t.healthy)))
	spent := ended + len(failed)
	fits := map[string]bool{}
	for _, token := range c.orphaned() {
		if !failed[token] {
			spent++
		}
		fits[token] = spent <= allowed
	}
	for _, bad := range c.Bad {
		if bad.Kind == BadLease {
			spent++ // it may have been ended a moment ago
		}
	}
	held := false
	for i := range c.verdicts {
		v := &c.verdicts[i]
		switch {
		case v.Action == ActOrphan && !fits[v.Token]:
			c.overRate(v, allowed)
			held = true
		case v.Action == ActEnd && v.Cause.Inferred() && v.Lease.State == lease.StateActive:
			if spent++; spent > allowed {
				c.overRate(v, allowed)
				held = true
			}
		}
	}
	for i := range c.verdicts {
		if v := &c.verdicts[i]; v.Action == ActMark && v.Cause.Inferred() {
			if marked++; marked > allowed || held { // no notice is given while a brake holds
				c.overRate(v, allowed)
			}
		}
	}
}

// orphaned returns the tokens of launches of which something is to be ended, in order.
func (c *situation) orphaned() []string {
	tokens := map[string]bool{}
	for _, v := range c.verdicts {
		if v.Action == ActOrphan {
			tokens[v.Token] = true
		}
	}
	return slices.Sorted(maps.Keys(tokens))
}

// overRate holds a verdict back.
func (c *situation) overRate(v *Verdict, allowed int) {
	c.trip(BrakeRate, "", fmt.Sprintf("%d ends that nobody declared within %s are enough", allowed, c.Policy.RateWindow))
	v.Action, v.Brake, v.Reason, v.Deadline = ActHold, BrakeRate, v.Reason+"; held by brake "+BrakeRate, time.Time{}
	c.wake(c.Now.Add(time.Minute))
}

// tallied is what is counted over all leases, for the brakes.
type tallied struct {
	// healthy are those beyond doubt: running by their date, and beating if they are to. Only they may raise a limit, so
	// that nothing dead or missing makes another one end sooner.
	healthy int

	// Within the rate's window: inferred ends and marks, and launches that left orphans.
	ended, marked int
	failed        map[string]bool

	// Of active leases with an instance that may be ended: those older than their tags, and all.
	older, comparable int
	renewing          int // sidecars that renew, of leases that are sound, or that have seen later changes
}

// tally counts over all leases, once for all brakes.
func (c *situation) tally() {
	t := &c.tallied
	t.failed = map[string]bool{}
	counts := silenceCounts{by: map[zoneTimeout]*silenceCount{}}
	lifted := c.rollbackLifted()
	for n := range c.Rows {
		l := &c.Rows[n]
		l.past = l.Over(c.Now, c.Policy.TermGrace)
		sound := c.sound(l)
		renewing := sound && c.renewing(l)
		if sound && l.HeartbeatTimeout <= 0 || renewing && l.HeartbeatTimeout > 0 {
			t.healthy++
		}
		c.countSilence(&counts, l, renewing)
		c.countRecent(l)
		c.countOlder(l, lifted)
		c.countBehind(l, sound)
	}
	for _, bad := range c.Bad {
		if bad.Kind == BadLease && (c.doubted[bad.ID] || !c.Heartbeats[bad.ID].Held) {
			counts.add(c.zoneSeen(bad.ID), 0, true)
		}
	}
	c.silences = counts.byZone()
}

// countRecent counts what was ended and marked within the rate's window.
func (c *situation) countRecent(l *Row) {
	within := func(t time.Time) bool { return !t.IsZero() && c.Now.Sub(t).Abs() < c.Policy.RateWindow }
	switch {
	case l.Cause == "" && l.Mark == nil:
	case within(l.RevokedAt) && l.Cause == lease.CauseFailedCreation:
		c.tallied.failed[l.Launch] = true
	case within(l.RevokedAt) && l.Cause.Inferred():
		c.tallied.ended++
	case l.Mark != nil && l.Mark.Cause.Inferred() && within(l.Mark.Since):
		c.tallied.marked++
	}
}
