package sim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// bounds are X of promise P2: how long an instance may outlive its lease, counted from when everything works again and
// people have released the brakes that need them. Each is the sum of its parts, with one sweep to see it and one to
// act.
func (s shape) bounds() (term, loss, launch, stuck time.Duration) {
	p, sweeps := s.policy, 3*time.Minute
	noticed := 3 * time.Minute // until the janitors lead, have recorded, and a person has come by
	term = noticed + p.MarkGrace + sweeps
	loss = noticed + p.BootGrace + maxTimeout + p.LoneGrace + 2*p.RateWindow + sweeps
	launch = noticed + p.LaunchWindow + p.OrphanGrace + p.RateWindow + 2*sweeps
	stuck = noticed + p.RetryMax + sweeps
	return term, loss, launch, stuck
}

// checkEnd judges what is left when all has been calm for long enough.
func (t *truth) checkEnd() {
	term, loss, launch, stuck := t.shape.bounds()
	calm := t.end.at.Add(-t.shape.calm)
	late := func(since time.Time, bound time.Duration) bool {
		if since.Before(calm) {
			since = calm
		}
		return t.end.at.Sub(since) > bound
	}
	for _, id := range slices.Sorted(maps.Keys(t.machines)) {
		b, f := t.machines[id], t.leases[id]
		if b.role == foreignRole || b.role == copiedRole {
			continue
		}
		var l *leaseRecord
		if f != nil {
			l = f.record
		}
		if l != nil && !b.ending() && !t.end.guards[id] && b.bound(l) {
			t.checkTagAtEnd(id, b, l)
		}
		switch {
		case b.ending():
			// One that still held is found ended only while EC2 shows it; after that it waits for its term.
			open := l != nil && (l.State == "revoked" || l.State == "active" && !l.ExpiresAt.IsZero() && late(l.ExpiresAt, term))
			if open && b.state == "terminated" && late(b.entered, stuck+t.shape.policy.AbsentFor) && late(f.since, stuck+t.shape.policy.AbsentFor) {
				t.find("P2", id, "terminated for %s, but its lease is %s", t.end.at.Sub(b.entered), l.State)
			}
		case l == nil:
			// A date on its tag that is newer than the one it was made with may mean that there was a lease, and without our
			// registry tag nobody knows it: in doubt it is kept.
			tags := b.tags[len(b.tags)-1].what
			// A thief's heartbeat may say that it has seen its lease, and holds its own instance by that.
			// One that was made without it is given it, unless the registry may have been set back since.
			given := t.shape.quirks.dropsTags && tags[registryTag] == "" && len(b.tags) == 1 && t.vouched.IsZero()
			taken := tags[registryTag] != registryUUID && !given
			doubt := t.stolen[id] || readTag(tags).newer(readTag(b.tags[0].what)) || taken
			if b.role == launchedRole && late(b.made, launch) && !t.lost(b.made) && !doubt {
				t.find("P3", id, "runs without a lease")
			}
		case l.State == "ended":
			t.find("P2", id, "runs, although its lease ended at %s", t.end.at.Sub(f.since))
		case t.end.guards[id] || !b.bound(l):
		case l.State == "revoked" && late(f.since, stuck):
			t.find("P2", id, "runs %s after its lease was revoked for %s (stuck: %q)", t.end.at.Sub(f.since), l.Cause, l.Stuck)
		case l.State != "active":
		case !l.ExpiresAt.IsZero() && late(l.ExpiresAt, term) && !t.tagRests(b, l):
			t.find("P2", id, "runs %s after its lease expired", t.end.at.Sub(l.ExpiresAt))
		case t.stolen[id] || t.calling(id).stolen: // it renews, or writes what nobody can read: only its own lost heartbeat is affected
		case !l.VouchedAt.IsZero() && len(t.calling(id).keys) == 0: // it ran and could never enrol: it waits for its dates
		case l.timeout() > 0 && !t.end.heartbeats[id] && !b.running.IsZero() && late(t.quietSince(id, b), loss):
			t.find("P2", id, "runs, although its heartbeat has been lost for %s", t.end.at.Sub(t.quietSince(id, b)))
		}
	}
	t.checkLaunches(late, launch)
	t.checkKeyPairs(late, launch)
}

// quietSince is when an instance last renewed, or started, or its lease changed so that the heartbeat timer restarted.
func (t *truth) quietSince(id string, b *body) time.Time {
	at := b.running
	for _, other := range []time.Time{t.leases[id].cured, t.leases[id].since} {
		if other.After(at) {
			at = other
		}
	}
	if p := t.heartbeats[id]; p != nil && p.until.After(at) {
		at = p.until
	}
	return at
}

// lost reports whether the registry was emptied or set back after a time.
func (t *truth) lost(since time.Time) bool {
	return slices.ContainsFunc(t.losses, func(at time.Time) bool { return at.After(since) })
}

// retries is how long what outlives a failed creation may take beyond its instances: looks that grow rarer, and an answer of EC2 that
// is lost. With the bound of a launch it must be shorter than the calm, or nothing is ever found.
const retries = 7 * time.Minute

// checkLaunches: none stays open, and nothing is left of one that failed.
func (t *truth) checkLaunches(late func(time.Time, time.Duration) bool, bound time.Duration) {
	for _, token := range slices.Sorted(maps.Keys(t.launches)) {
		l := t.launches[token]
		if l.record == nil {
			continue
		}
		if l.record.State == "open" && late(time.Time{}, bound) {
			t.find("P3", token, "is still open")
		}
		held := t.lost(time.Time{}) || !t.vouched.IsZero() // a person has said that it may have been set back
		for id := range l.made {
			// Of one that ended by itself no record says that its lease never held.
			held = held || t.leases[id] == nil || !t.leases[id].bound.IsZero() || !t.machines[id].ending()
		}
		if l.record.State != "closed" {
			continue
		}
		for _, x := range t.end.pieces {
			f := t.leases[x.of]
			orphan := f != nil && f.record != nil && f.record.Cause == "failed-creation" && f.record.State == "ended" && f.active.IsZero() && strings.HasPrefix(x.id, "eni-")
			if held && (!orphan || t.lost(time.Time{})) { // of which others' leases say nothing
				continue
			}
			if strings.HasPrefix(x.tags[launchTag], token+".") && (x.state == "available" || x.state == "open" || x.state == "active") &&
				late(t.lastEnd(l), bound+retries) {
				t.find("P3", x.id, "is left of launch %s, %s", token, x.state)
			}
		}
	}
}

// lastEnd is when the last instance of a launch ended.
func (t *truth) lastEnd(l *launchFile) time.Time {
	at := l.closed
	for id := range l.made {
		if e := t.machines[id].entered; e.After(at) {
			at = e
		}
	}
	return at
}
