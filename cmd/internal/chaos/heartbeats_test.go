//go:build chaos

package chaos

import "strings"

// judgeLoss judges the revocation of a lease because nothing renewed it: by what etcd committed, in the order of its
// revisions, and by what was really done to the sidecar.
func (w *world) judgeLoss(p past, before, v version) {
	wrong := func(format string, args ...any) {
		w.wrong("%s was revoked at %s for "+v.Cause+", "+format, append([]any{v.InstanceID, clock(v.revoked())}, args...)...)
	}
	mark := before.Mark
	switch {
	case mark == nil || mark.Cause != "heartbeat-lost" && mark.Cause != "no-heartbeat":
		wrong("and had no notice")
		return
	case v.revoked().Before(mark.Deadline): // which counts from the decision: the mark itself is written a little later
		wrong("although it had notice until %s", clock(mark.Deadline))
	}
	heartbeat, at := p.lastHeartbeat(v)
	switch gone := p.checkpoints[max(at, 0)]; {
	case heartbeat:
		wrong("although its heartbeat existed")
	case at >= 0 && !gone.IsZero() && v.revoked().Sub(gone) < markGrace:
		wrong("although its heartbeat existed until %s at least", clock(gone))
	}
	if least := before.GrantedAt.Add(max(bootGrace, heartbeatTimeout) + markGrace); v.Cause == "no-heartbeat" && v.revoked().Before(least) {
		wrong("which is before %s", clock(least))
	}
	if cured := p.cured(before); v.revoked().Before(cured.Add(markGrace)) {
		wrong("although it was extended or unmarked at %s", clock(cured))
	}
	if away := w.diary.lastAway(v.revoked(), mark.Deadline); v.revoked().Before(away.Add(markGrace)) {
		wrong("although etcd itself was down until %s", clock(away))
	}
	since, why := w.diary.well(v.revoked(), v.InstanceID, "zone-"+w.zoneOf(v.InstanceID))
	if least := since.Add(heartbeatTimeout + markGrace); v.revoked().After(least) {
		wrong("although its sidecar had every chance to renew since %s (before that: %s)", clock(since), why)
	}
	w.tally.add("lost heartbeats judged: "+why, 1)
}

// lastHeartbeat reports whether a heartbeat that an etcd lease holds was there when a version was written, and the number of
// the event that took the last one away; -1 if there was none in the epoch.
func (p past) lastHeartbeat(v version) (there bool, at int) {
	for n := v.at - 1; n >= 0 && p.events[n].epoch == v.epoch; n-- {
		if e := p.events[n]; e.key == "heartbeats/"+v.InstanceID {
			return !e.deleted() && e.held, n
		}
	}
	return false, -1
}

// zoneOf is the last letter of an instance's zone.
func (w *world) zoneOf(id string) string {
	i, _ := w.sim.Instance(id)
	return strings.TrimPrefix(i.Zone, region)
}
