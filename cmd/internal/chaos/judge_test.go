//go:build chaos

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// staleness is how old a janitor's knowledge of an instance may be when it terminates it: a listing or description, and
// the time since, which the janitor itself bounds by 10 s.
const staleness = staleFor + 15*time.Second

// past is the history by record.
type past struct {
	events      []event
	leases      map[string][]version // by instance id, in order
	checkpoints []time.Time          // of each event: when it was committed at the earliest
	leadership  [][]string           // when each event was committed: the candidates, the leader first
}

// version is one state of a lease.
type version struct {
	at int // among the events
	event
	leaseRecord
}

// readPast sorts the history.
func readPast(events []event) past {
	p := past{events: events, leases: map[string][]version{}, checkpoints: make([]time.Time, len(events)), leadership: make([][]string, len(events))}
	var latest time.Time
	candidates := map[string]event{}
	for n, e := range events {
		if n > 0 && events[n-1].epoch != e.epoch {
			latest = time.Time{}
			clear(candidates)
		}
		if strings.HasPrefix(e.key, "election/janitor/") {
			candidates[e.key] = e
			if e.deleted() {
				delete(candidates, e.key)
			}
		}
		p.leadership[n] = inOrder(candidates)
		if l, ok := e.lease(); ok {
			p.leases[l.InstanceID] = append(p.leases[l.InstanceID], version{n, e, l})
			if last := len(l.History) - 1; last >= 0 {
				latest = later(latest, l.History[last].Time, e)
			}
		}
		if s, ok := decoded[checkpointRecord](e, "checkpoint"); ok {
			latest = later(latest, s.Time, e) // recorded before it was written
		}
		p.checkpoints[n] = latest
	}
	return p
}

// later is the later of two times, unless an event was seen before the second: then its writer's clock was ahead.
func later(latest, dated time.Time, e event) time.Time {
	if dated.After(latest) && !dated.After(e.seen) {
		return dated
	}
	return latest
}

// revoked is when a janitor took a lease away. If its clock was off by then, it is when that was seen.
func (v version) revoked() time.Time {
	const off = 2 * time.Minute // far more than the watch can be late, and less than what clocks are off by
	if v.RevokedAt.Sub(v.seen).Abs() > off {
		return v.seen
	}
	return v.RevokedAt
}

// cured is when the lease was last extended or unmarked. If the clock that dated it was ahead, as that of a sidecar may be, it
// is when that was seen.
func (p past) cured(v version) time.Time {
	for _, earlier := range p.leases[v.InstanceID] {
		if earlier.CuredAt.Equal(v.CuredAt) && earlier.CuredAt.After(earlier.seen) {
			return earlier.seen
		}
	}
	return v.CuredAt
}

// inOrder is who leads of those who stand for the leadership, and who is next.
func inOrder(candidates map[string]event) []string {
	all := slices.SortedFunc(maps.Values(candidates), func(a, b event) int { return int(a.created - b.created) })
	var names []string
	for _, e := range all {
		names = append(names, string(e.value))
	}
	return names
}

// wrong is a violation.
func (w *world) wrong(format string, args ...any) {
	w.tally.add("violations", 1)
	w.t.Errorf("WRONG: "+format, args...)
}

// judge demands of the whole run that nothing was ended, launched or removed that should not have been.
func (w *world) judge() {
	events, err := w.history.everything()
	if err != nil {
		w.t.Fatalf("the history of etcd is not complete: %v", err)
	}
	p := readPast(events)
	w.tally.add("records and heartbeats written", len(events))
	ended := w.judgeCalls(p)
	for id, versions := range p.leases {
		for n, v := range versions {
			var before *version
			if n > 0 && versions[n-1].epoch == v.epoch {
				before = &versions[n-1]
			}
			if !v.base {
				w.judgeChange(p, before, v)
			}
		}
		w.judgeGrants(versions, id)
	}
	w.judgeHeld(p)
	w.judgeInstances(p, ended)
	w.judgeRemovals(p)
	w.intact()
	w.countLeftovers()
	w.linear.check()
}

// judgeCalls judges every call of TerminateInstances that reached EC2, whatever came of it, and returns by which causes
// instances were ended.
func (w *world) judgeCalls(p past) map[string]string {
	ended := map[string]string{}
	for _, call := range w.gate.everything() {
		for _, id := range call.ids {
			if call.action != "TerminateInstances" {
				continue
			}
			w.tally.add("checks", 1)
			what := w.nobody.instances[id]
			switch since, exempt := w.diary.exemptSince(id); {
			case what != "":
				w.wrong("%s asked EC2 to terminate %s, which is %s", call.who, id, what)
			case exempt && call.arrived.After(since.Add(staleness)):
				w.wrong("%s asked EC2 to terminate %s at %s, which is exempt since %s", call.who, id, clock(call.arrived), clock(since))
			case !strings.HasPrefix(call.who, "janitor-"):
				w.wrong("%s asked EC2 to terminate %s, but is not a janitor", call.who, id)
			}
			v, ok := authorised(p.leases[id], call)
			switch {
			case !ok:
				w.wrong("%s asked EC2 to terminate %s at %s, whose lease was not revoked by then", call.who, id, clock(call.arrived))
			case ended[id] == "":
				ended[id] = v.Cause
			}
		}
	}
	for _, cause := range ended {
		w.tally.add("ended by "+cause, 1)
	}
	return ended
}

// authorised returns the record that authorised a call: revoked, with a try, and in etcd before the call went on to EC2.
// Where the watch was late, and etcd was not to blame for it, the times on the record have to do.
func authorised(versions []version, call destruction) (version, bool) {
	for _, v := range versions {
		inTime := call.proven && !v.seen.After(call.passed) || !call.proven && v.TriedAt.Before(call.arrived)
		if v.State == "revoked" && v.Tries > 0 && inTime && !v.TriedAt.After(call.arrived) {
			return v, true
		}
	}
	return version{}, false
}

// judgeChange judges one write of a lease. before is nil for the first.
func (w *world) judgeChange(p past, before *version, v version) {
	w.tally.add("checks", 1)
	if last := v.History[len(v.History)-1]; before == nil || v.Changes > before.Changes {
		w.judgeFence(p, v, last.Actor, last.Action)
	}
	was := ""
	if before != nil {
		was = before.State
	}
	switch {
	case was == v.State:
	case v.State == "revoked" && v.Cause == "failed-creation":
		w.judgeOrphan(p, was, v)
	case v.State == "revoked" && was == "ended": // EC2 showed it again
	case v.State == "revoked" && was != "active":
		w.wrong("the lease of %s went from %q to revoked (%s)", v.InstanceID, was, v.Cause)
	case v.State == "revoked":
		w.judgeRevoked(p, *before, v)
	case v.State == "ended" && was == "active":
		w.judgeGone(v)
	case v.State == "active" && was == "ended", was == "" && v.State == "active", v.State == "ended" && was == "revoked":
	default:
		w.wrong("the lease of %s went from %q to %s", v.InstanceID, was, v.State)
	}
}

// judgeFence judges that a janitor that wrote held the leadership. A restore brings back the keys of the candidates of
// that time: after it, the writer's own key must exist, which is what its writes compare.
func (w *world) judgeFence(p past, v version, actor, action string) {
	name, janitor := strings.CutPrefix(actor, "janitor:")
	leadership := p.leadership[v.at]
	if v.epoch == 1 {
		leadership = leadership[:min(1, len(leadership))]
	}
	if janitor && !slices.Contains(leadership, name) {
		w.wrong("%s wrote the lease of %s (%s) at revision %d, when %q held the leadership", name, v.InstanceID, action, v.revision, leadership)
	}
}

// judgeRevoked judges that a lease was taken away which held.
func (w *world) judgeRevoked(p past, before, v version) {
	switch v.Cause {
	case "expired":
		if before.ExpiresAt.IsZero() || v.revoked().Before(before.ExpiresAt) {
			w.wrong("%s was revoked at %s for its expiry, which was %s", v.InstanceID, clock(v.revoked()), clock(before.ExpiresAt))
		}
		if g, ok := w.diary.promised(v.InstanceID, v.revoked()); ok {
			w.wrong("%s was revoked at %s for its expiry, although an extension until %s was acknowledged", v.InstanceID, clock(v.revoked()), clock(g))
		}
	case "release":
		if !w.diary.wishedBefore(v.InstanceID, v.revoked(), "release") {
			w.wrong("%s was released, but nobody requested it", v.InstanceID)
		}
	case "revoke":
		if !w.diary.wishedBefore(v.InstanceID, v.revoked(), "revoke") {
			w.wrong("%s was revoked, but nobody requested it", v.InstanceID)
		}
	case "heartbeat-lost", "no-heartbeat":
		w.judgeLoss(p, before, v)
	default:
		w.wrong("%s was revoked for %q", v.InstanceID, v.Cause)
	}
}

// judgeGone judges that a lease ended without being revoked: EC2 must have said so, and somebody else must have done it.
func (w *world) judgeGone(v version) {
	i, ok := w.sim.Instance(v.InstanceID)
	interrupted := w.diary.wishedBefore(v.InstanceID, v.seen, "interrupted")
	if v.Cause != "gone" || !ok || i.State != ec2sim.Terminated || !interrupted && v.epoch == 1 {
		w.wrong("the lease of %s ended as %q, but EC2 reports it as %s", v.InstanceID, v.Cause, i.State)
	}
}

// judgeOrphan judges that an instance was ended because its launch had failed: closed before, no lease ever, two looks.
func (w *world) judgeOrphan(p past, was string, v version) {
	if was != "" {
		w.wrong("%s was terminated as a failed creation, but its lease was %s", v.InstanceID, was)
	}
	var launch launchRecord
	for n := v.at - 1; n >= 0 && p.events[n].epoch == v.epoch; n-- {
		if l, ok := decoded[launchRecord](p.events[n], "launches/"+v.Launch); ok && l.Token == v.Launch {
			launch = l
			break
		}
	}
	looked, ok := launch.Looks[v.InstanceID]
	switch {
	case launch.State != "closed":
		w.wrong("%s was terminated as a failed creation, but launch %q was %s", v.InstanceID, v.Launch, launch.State)
	case !ok || v.revoked().Sub(looked) < orphanGrace:
		w.wrong("%s was terminated as a failed creation at %s, first seen at %s", v.InstanceID, clock(v.revoked()), clock(looked))
	}
	for _, id := range w.crowd.everything()[v.Launch].leased {
		if id == v.InstanceID {
			w.wrong("%s was terminated as a failed creation, but its launcher had bound its lease", id)
		}
	}
}

// judgeGrants checks that every acknowledged extension is in etcd as it was acknowledged.
func (w *world) judgeGrants(versions []version, id string) {
	w.diary.mu.Lock()
	defer w.diary.mu.Unlock()
	for _, g := range w.diary.grants {
		if g.id != id {
			continue
		}
		found := false
		for _, v := range versions {
			found = found || v.epoch == g.epoch && v.revision == g.revision && v.ExpiresAt.Equal(g.until)
		}
		if !found {
			w.wrong("the extension of %s until %s, acknowledged at revision %d, is not in etcd", id, clock(g.until), g.revision)
		}
	}
}

// promised returns the latest acknowledged term of a lease that lies after at, if nobody asked for an earlier one since.
func (d *diary) promised(id string, at time.Time) (until time.Time, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.grants {
		if g.id != id || !g.until.After(at) || g.asked.After(at) {
			continue
		}
		shortened := false
		for _, other := range d.wishes {
			shortened = shortened || other.id == id && other.verb == "shorten" && other.at.After(g.asked)
		}
		if !shortened {
			until, ok = g.until, true
		}
	}
	return until, ok
}

// judgeHeld checks that janitors took nothing away, and tried to end nothing, between a restore and the operator's word. What a
// leader was about to end while etcd was away goes through in the moment before it has read anything of the restored one: by
// what it knew then, which is newer. That is no wrong if nobody was promised more.
func (w *world) judgeHeld(p past) {
	for n, r := range w.diary.restores {
		for _, versions := range p.leases {
			for _, v := range versions {
				during := v.epoch == n+2 && !v.base && v.TriedAt.After(r.up) && v.TriedAt.Before(r.resumed)
				_, promised := w.diary.promised(v.InstanceID, v.TriedAt)
				switch {
				case !during:
				case v.Cause == "expired" && v.TriedAt.Before(r.noticed) && !promised:
					w.tally.add("terminated by a decision from before a restore", 1)
				default:
					w.wrong("%s was to be terminated at %s (%s), while everything was held back from %s to %s",
						v.InstanceID, clock(v.TriedAt), v.Cause, clock(r.up), clock(r.resumed))
				}
			}
		}
		w.tally.add("checks", len(p.leases))
	}
}

// judgeInstances checks that launches launched no more than they should, and that every terminated instance was
// terminated by somebody who may.
func (w *world) judgeInstances(p past, ended map[string]string) {
	made := map[string]int{}
	for _, i := range w.sim.Instances() {
		if w.nobody.instances[i.ID] != "" {
			continue
		}
		token, _, _ := strings.Cut(i.ClientToken, ".")
		made[token]++
		over := i.State == ec2sim.Terminated || i.State == ec2sim.ShuttingDown
		if over && ended[i.ID] == "" && !w.diary.wishedBefore(i.ID, time.Now(), "interrupted") {
			w.wrong("%s is %s, but nobody is known to have requested it", i.ID, i.State)
		}
		if _, exempt := w.diary.exemptSince(i.ID); exempt && !over && passed(p.leases[i.ID]) {
			w.tally.add("exempt instances whose lease expired", 1)
		}
	}
	orders := w.crowd.everything()
	for token, n := range made {
		if n > orders[token].count {
			w.wrong("launch %s of %d launched %d instances", token, orders[token].count, n)
		}
		w.tally.add("checks", 1)
	}
}

// passed reports whether the term of a lease is over.
func passed(versions []version) bool {
	if len(versions) == 0 {
		return false
	}
	last := versions[len(versions)-1]
	return !last.ExpiresAt.IsZero() && time.Now().After(last.ExpiresAt)
}

// judgeRemovals checks that what was removed beside instances was left by a launch that was closed, and never held.
func (w *world) judgeRemovals(p past) {
	held := w.everHeld()
	closed := map[string]bool{}
	for _, e := range p.events {
		if l, ok := decoded[launchRecord](e, "launches/"); ok && l.State == "closed" {
			closed[l.Token] = true
		}
	}
	left := map[string]bool{}
	for _, m := range w.fleet.all() {
		for _, id := range m.pieces {
			left[id] = closed[m.token] && !held[m.token]
		}
	}
	for _, call := range w.gate.everything() {
		for _, id := range call.ids {
			if strings.HasPrefix(call.action, "Delete") && !left[id] {
				w.wrong("%s called %s of %s, which is not left of a failed creation", call.who, call.action, id)
			}
		}
	}
}

func clock(t time.Time) string { return fmt.Sprint(t.UTC().Format("15:04:05.000")) }
