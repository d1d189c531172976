package sim

import (
	"cmp"
	"slices"
	"time"
)

const (
	maxSkew = 11 * time.Second // 10 s, and EC2's whole seconds
	slack   = 4 * time.Second  // clocks that drift, and calls that take their time
)

// checkRevoked judges the moment in which etcd took a lease away by a janitor's word.
func (t *truth) checkRevoked(by, id string, f *file, before, after *leaseRecord) {
	t.checkHeld(id)
	t.checkKeys(id, f, after.Cause, t.now.Add(-2*time.Minute), t.now)
	switch {
	case after.Cause == "expired":
		t.checkTerm(id, f, before)
	case inferred(after.Cause):
		t.checkLoss(by, id, f, before)
		t.checkBrake(id, before)
		t.checkRate(id, "")
		t.ends = append(t.ends, end{t.now, id, after.Cause, "", t.zone(id), before.timeout()})
	default:
		t.find("P1", id, "revoked by a janitor for %q", after.Cause)
	}
}

// checkTerm: not before the date, and after a notice if nobody was acting when it passed; both by a clock that may be off
// by what the clock brake does not mind.
func (t *truth) checkTerm(id string, f *file, before *leaseRecord) {
	over := before.ExpiresAt
	if over.IsZero() || t.now.Before(over.Add(-maxSkew)) {
		t.find("P1", id, "terminated for an expiry at %s, which is %s", clockOf(t.now), clockOf(over))
	}
	t.checkPromise(id, "expired")
	t.checkKept(id, f, before)
	acted := t.acted(over) || t.acted(over.Add(maxSkew)) // by a clock that is not off by more than it may be
	if !acted && (before.Mark == nil || before.Mark.Cause != "expired" || t.now.Sub(f.marked) < t.shape.policy.MarkGrace-maxSkew) {
		t.find("P1", id, "nobody was enforcing at %s, when its lease expired, but it got no notice", clockOf(over))
	}
}

// acted reports whether terms were being ended at a time: a checkpoint was there, not too old, and the registry was armed.
func (t *truth) acted(at time.Time) bool {
	n, _ := slices.BinarySearchFunc(t.checkpoints, at, func(s since[*checkpointRecord], at time.Time) int { return s.at.Compare(at) })
	// The checkpoint that finds the term over may be the first after it, if the one before it is fresh.
	fresh := false
	if n > 0 {
		last := t.checkpoints[n-1]
		fresh = at.Sub(last.at) <= last.what.NextSweep.Sub(last.what.Time)+3*time.Minute+maxSkew
	}
	if n < len(t.checkpoints) { // or it was on its way
		next := t.checkpoints[n]
		fresh = fresh || !next.what.Time.After(at) && next.at.Sub(next.what.Time) <= time.Minute
	}
	return fresh && t.modeAt(at) == "armed"
}

// checkLoss: the key was gone for the whole grace, also since everything that restarts the timer.
func (t *truth) checkLoss(by, id string, f *file, before *leaseRecord) {
	p, b, grace := t.shape.policy, t.machines[id], t.shape.policy.MarkGrace
	heartbeat := t.heartbeats[id]
	if heartbeat == nil {
		heartbeat = &pulse{}
	}
	least := func(since time.Time, wait time.Duration, what string) {
		if !since.IsZero() && t.now.Sub(since) < wait-slack {
			t.find("P1", id, "terminated for a lost heartbeat %s after %s, want at least %s", t.now.Sub(since), what, wait)
		}
	}
	if !before.ContestedAt.IsZero() || !before.VouchedAt.IsZero() {
		t.find("P1", id, "terminated for a lost heartbeat, although that says nothing: contested, or proved to run")
	}
	if heartbeat.there {
		t.find("P1", id, "terminated for a lost heartbeat, but its heartbeat exists")
	}
	if before.timeout() <= 0 {
		t.find("P1", id, "terminated for a lost heartbeat, but its lease has no heartbeat timeout")
	}
	least(heartbeat.until, grace, "its last heartbeat")
	if f.cured.After(heartbeat.until) {
		least(f.cured, before.timeout()+grace, "its extension or unmark")
	}
	leadership := t.leaderships[by]
	if leadership.IsZero() {
		t.find("P1", id, "terminated for a lost heartbeat by a leader that has written no checkpoint")
	}
	least(leadership, grace, "the leader's first checkpoint")
	if elected := t.elected[by]; heartbeat.until.Before(elected) {
		least(elected, before.timeout()+grace-10*time.Second, "the election of a leader that never saw it renew")
	}
	switch {
	case before.Mark == nil || !inferred(before.Mark.Cause):
		t.find("P1", id, "terminated for a lost heartbeat without notice")
	default:
		least(f.marked, grace, "its notice")
	}
	if b.state != "running" && t.now.Sub(b.entered) > maxStale+15*time.Second && !t.wasStopped(b.entered) {
		t.find("P1", id, "terminated for a lost heartbeat, but it is %s", b.state)
	}
	if heartbeat.claimed.Before(b.running) {
		least(b.running, p.BootGrace, "its start")
	}
	if t.alone(id, heartbeat.until) && !heartbeat.until.IsZero() {
		least(heartbeat.until, p.LoneGrace, "its last heartbeat, with no other heartbeat in its zone since")
	}
	if t.living(id) {
		for _, s := range t.stalls {
			if s.until.Before(t.now) && s.until.Sub(s.from) >= before.timeout()/4 { // in less, no heartbeat is missed
				least(s.until, grace, "etcd stalled")
			}
		}
	}
}

// wasStopped reports whether a janitor was stopped at or after a time: what it sent may come late.
func (t *truth) wasStopped(at time.Time) bool {
	return slices.ContainsFunc(t.stopped, func(s span) bool { return !s.until.Before(at) })
}

// alone reports whether no other heartbeat of the zone was there after a time.
func (t *truth) alone(id string, after time.Time) bool {
	for other, p := range t.heartbeats {
		if other != id && t.zone(other) == t.zone(id) && (p.there || p.until.After(after)) {
			return false
		}
	}
	return true
}

// living reports whether the sidecar of an instance runs.
func (t *truth) living(id string) bool {
	b := t.machines[id]
	if b == nil || b.running.IsZero() {
		return false
	}
	prefix := "sidecar-" + id[len(id)-3:] + "."
	for name, alive := range t.alive {
		if alive && len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

// checkBrake counts the lost heartbeats without the janitor's help: those that have been lost for long enough to be
// seen.
func (t *truth) checkBrake(id string, judged *leaseRecord) {
	const seen = 100 * time.Second
	p := t.shape.policy
	for _, scope := range []string{"", t.zone(id)} {
		lost, all := 0, 0
		for other, f := range t.leases {
			b := t.machines[other]
			if b == nil || f.record == nil || f.record.timeout() <= 0 || f.record.timeout() > judged.timeout() || scope != "" && b.zone != scope {
				continue
			}
			heartbeat := t.heartbeats[other]
			running := !b.running.IsZero()
			switch {
			case other == id:
				lost, all = lost+1, all+1
			case !f.record.live() || f.record.State == "adopting" || !running:
			case heartbeat != nil && heartbeat.there:
				all++
			case t.now.Sub(b.running) < 2*p.BootGrace+seen || // which counts from when the leader sees it run
				t.now.Sub(f.since) < seen || heartbeat != nil && t.now.Sub(heartbeat.until) < seen ||
				(heartbeat == nil || heartbeat.until.Before(f.since)) && t.now.Sub(f.since) < p.BootGrace+seen: // bound late, and never renewed since
				all++
			default:
				lost, all = lost+1, all+1
			}
		}
		for _, e := range t.ends {
			if e.id != id && inferred(e.cause) && e.timeout <= judged.timeout() && t.now.Sub(e.at) < p.LostMemory-seen && (scope == "" || e.zone == scope) {
				lost, all = lost+1, all+1
			}
		}
		if allowed := max(p.LostMin, int(p.LostShare*float64(all))); lost > allowed && !t.resumed(scope) {
			t.find("brake", id, "terminated for a lost heartbeat while %d of %d heartbeats were lost in %q, more than %d", lost, all, scope, allowed)
		}
	}
}

// resumed reports whether a person has declared that losses need not be held back.
func (t *truth) resumed(scope string) bool {
	if t.registry == nil {
		return false
	}
	for _, r := range t.registry.Resumed {
		if r.Name == "heartbeats" && (r.Scope == scope || scope != "" && r.Scope != "") {
			return true
		}
	}
	return false
}

// checkRate: so many ends that nobody declared are enough for a while; a failed launch counts once.
func (t *truth) checkRate(id, launch string) {
	p := t.shape.policy
	n, launches := 1, map[string]bool{launch: launch != ""}
	for _, e := range t.ends {
		if t.now.Sub(e.at) > p.RateWindow-10*time.Second || launches[e.launch] {
			continue
		}
		launches[e.launch] = e.launch != ""
		n++
	}
	if allowed := max(p.RateMin, int(p.RateShare*float64(len(t.leases)))); n > allowed {
		t.find("brake", id, "terminate %d within %s for inferred causes, more than %d", n, p.RateWindow, allowed)
	}
}

// checkKill judges the call that terminates an instance.
func (t *truth) checkKill(e event) {
	b, f := t.machines[e.id], t.leases[e.id]
	if b.role == foreignRole || b.role == copiedRole {
		t.find("P1", e.id, "%s, but terminated by %s", b.role, e.who)
	}
	if f == nil || len(f.authorised) == 0 {
		t.find("P6", e.id, "terminated without a record")
		return
	}
	if own := lastBy(e.who, f.authorised, e.sent); own.IsZero() || e.sent.Sub(own) > 2*time.Minute {
		t.find("P6", e.id, "terminated by %s with a call sent at %s, whose last authorisation before is from %s", e.who, e.sent, own)
	}
	if f.record != nil {
		t.counts.kills[cmp.Or(f.record.Cause, "unmanaged while the call was in flight")]++
		if f.record.State == "unmanaged" && e.sent.Sub(f.since) > time.Minute {
			t.find("P1", e.id, "terminated %s after it was unmanaged", e.sent.Sub(f.since))
		}
		if own := f.authorised[len(f.authorised)-1].at; f.record.live() && !t.lost(own) {
			t.find("P1", e.id, "terminated, but its lease is %s", f.record.State)
		}
	}
	if ours := t.always(b, e.sent, func(tags map[string]string) bool { return tags[registryTag] != registryUUID }); ours {
		t.find("P1", e.id, "terminated, although it had no tag of this registry")
	}
	if exempt := t.always(b, e.sent, func(tags map[string]string) bool { _, is := tags[exemptTag]; return is }); exempt {
		t.find("P1", e.id, "terminated, although it was exempt")
	}
	if f.record != nil && f.record.State == "revoked" {
		t.checkKeys(e.id, f, f.record.Cause, e.sent.Add(-maxStale-15*time.Second), e.sent)
	}
	b.asked = true
}

// lastBy is when somebody last wrote until a time; zero if never. Others may have written since: what is sent may come late.
func lastBy(who string, writes []since[string], until time.Time) time.Time {
	for _, w := range slices.Backward(writes) {
		if w.what == who && !w.at.After(until) {
			return w.at
		}
	}
	return time.Time{}
}

// always reports whether the tags were so all the time in which somebody could have looked before sending.
func (t *truth) always(b *body, sent time.Time, so func(map[string]string) bool) bool {
	return b.always(sent.Add(-maxStale-15*time.Second), sent, so)
}
