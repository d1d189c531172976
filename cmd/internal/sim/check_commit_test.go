package sim

import (
	"strings"
	"time"

	"lapse/lease/etcd/etcdsim"
)

// checkFence: janitors write only while they are elected, and act only while the registry is armed. A paused one lets them
// raise what is behind its tag.
func (t *truth) checkFence(e event, what string, raised bool) {
	if t.roles[e.who] != "janitor" {
		return
	}
	if leader := t.leader(); leader != e.who && !t.unsure {
		t.find("fence", e.who, "writes %s while %q leads", what, leader)
	}
	if raised && t.registry != nil && t.registry.Mode == "paused" {
		return
	}
	if what != "checkpoint" && what != "plan" && (t.registry == nil || t.registry.Mode != "armed") {
		t.find("fence", e.who, "writes %s while the registry is not armed", what)
	}
}

func (t *truth) takeLease(e event, id string, c etcdsim.Change) {
	f := t.leases[id]
	if f == nil {
		f = &file{}
		t.leases[id] = f
	}
	before := f.record
	if before != nil && before.State == "active" {
		f.active, f.forgotten = t.now, false
	}
	after, err := read[leaseRecord](c.Value)
	if err != nil {
		t.find("records", id, "is not JSON: %v", err)
		return
	}
	if before != nil && before.State == "adopting" || after != nil && after.State == "adopting" {
		f.adopting = t.now
	}
	f.record, f.by = after, e.who
	if before == nil || after == nil || before.State != after.State {
		f.since = t.now
	}
	if e.who == "" { // etcd was emptied or set back: nobody wrote this
		f.marked = t.now
		return
	}
	t.checkFence(e, "lease "+id, before.raisedTo(after))
	if after == nil {
		return
	}
	if after.live() && (f.bound.IsZero() || f.forgotten) {
		f.bound = t.now
	}
	// What was promised before a person shortened it, or adopted it with a date of its own, counts no more, however late that came.
	adopted := after.State == "adopting" && (before == nil || before.State != "adopting" || t.roles[e.who] == "person: adopt") // also once more
	if t.roles[e.who] == "person: shorten" || adopted {
		delete(t.promises, id)
	}
	if after.State == "active" {
		f.active, f.forgotten = t.now, false
	}
	f.changes = max(f.changes, after.Changes)
	t.checkOwn(e.who, id, before, after)
	t.noteDate(e.who, id, f, before, after)
	t.checkChange(e.who, id, before, after)
	janitor := t.roles[e.who] == "janitor"
	switch {
	case before == nil && after.State == "active" && t.roles[e.who] == "launcher":
		t.checkBind(id, after)
	case before == nil && after.State == "revoked":
		t.checkOrphan(e.who, id, after)
		t.ends = append(t.ends, end{t.now, id, after.Cause, after.Launch, t.zone(id), 0})
		t.counts.revoked++
	case before.live() && after.State == "revoked" && janitor:
		t.counts.revoked++
		t.checkRevoked(e.who, id, f, before, after)
	case after.State == "ended" && (before == nil || before.State != "ended"):
		t.checkEnded(id, before)
	}
	if janitor && after.State == "revoked" && (before == nil || after.Tries > before.Tries) {
		f.authorised = append(f.authorised, since[string]{t.now, e.who})
		f.authorisedDate = after.date()
	}
	switch {
	case after.Mark == nil:
		f.marked = time.Time{}
	case before == nil || before.Mark == nil || !before.Mark.Since.Equal(after.Mark.Since) || before.Mark.Cause != after.Mark.Cause:
		f.marked = t.now
		if after.Mark.Cause == "expired" { // its notice is what the record says
			f.marked = t.begun(after.Mark.Since)
		}
	}
	if before == nil || !before.CuredAt.Equal(after.CuredAt) {
		f.cured = t.now
	}
}

// begun is when a write was decided on that says so itself, and comes now: no call takes longer than a minute.
func (t *truth) begun(at time.Time) time.Time {
	if earliest := t.now.Add(-time.Minute - maxSkew); at.Before(earliest) {
		return earliest
	}
	if at.After(t.now) {
		return t.now
	}
	return at
}

func (t *truth) zone(id string) string {
	if b := t.machines[id]; b != nil {
		return b.zone
	}
	return ""
}

// checkHeld: while a brake is engaged that only a person can release, no janitor terminates anything.
func (t *truth) checkHeld(id string) {
	loss := time.Time{}
	if len(t.losses) > 0 {
		loss = t.losses[len(t.losses)-1]
	}
	// What was on its way when the brake was found may come to etcd a little later.
	if t.standing["rollback"] && loss.After(t.vouched) && t.now.Sub(t.engaged) > time.Minute && !t.wasStopped(t.engaged) {
		t.find("brake", id, "terminated while the registry was set back, before a person had checked")
	}
}

// checkRemoved: what outlived an instance goes only if no lease of its launch ever held.
func (t *truth) checkRemoved(e event) {
	l := t.launchOf(e.text)
	if own := lastBy(e.who, l.authorised[e.id], e.sent); own.IsZero() || e.sent.Sub(own) > 2*time.Minute {
		t.find("P6", e.id, "removed by %s with a call sent at %s, whose last authorisation before is from %s", e.who, e.sent, own)
	}
	if leased(e.tags) {
		t.find("P1", e.id, "removed, although its tag says that there was a lease")
	}
	for id := range l.made {
		if f := t.leases[id]; f != nil && !f.bound.IsZero() && !f.forgotten && strings.HasPrefix(e.id, "vol-") {
			t.find("P1", e.id, "removed, although the lease of %s of its launch was active once", id)
		}
	}
}

// checkChange: what every change of a record keeps.
func (t *truth) checkChange(by, id string, before, after *leaseRecord) {
	if before == nil {
		return
	}
	if after.Changes < before.Changes {
		t.find("records", id, "its changes went from %d to %d", before.Changes, after.Changes)
	}
	if before.NextRelease != nil && t.roles[by] != "person: newer release" && string(after.NextRelease) != string(before.NextRelease) {
		t.find("records", id, "lost what a newer release wrote")
	}
	if before.State == "revoked" && after.live() {
		t.find("records", id, "was revoked, and became %s", after.State)
	}
	adopted := after.State == "adopting" && strings.HasPrefix(t.roles[by], "person: ")
	if before.State == "unmanaged" && after.State != before.State && !adopted || before.State == "ended" && after.State == "revoked" && t.machines[id] != nil && t.machines[id].ending() {
		t.find("records", id, "%s became %s", before.State, after.State)
	}
}

// checkBind: nothing is bound to a launch that was closed.
func (t *truth) checkBind(id string, after *leaseRecord) {
	l := t.launch(after.Launch)
	if l.record == nil || l.record.State != "open" {
		t.find("P3", id, "bound to a launch that is not open")
	}
	t.checkAlive(id, l)
}

// checkEnded: a lease is ended when EC2 says so, and not before.
func (t *truth) checkEnded(id string, before *leaseRecord) {
	b := t.machines[id]
	switch {
	case b == nil || b.state == "terminated":
	case before.live() && before.State != "adopting" && b.state == "shutting-down" && t.now.Sub(b.entered) < time.Second:
	default:
		t.find("P6", id, "ended on record, but %s in EC2", b.state)
	}
}

func (t *truth) takeLaunch(e event, token string, c etcdsim.Change) {
	l := t.launch(token)
	before := l.record
	after, err := read[launchRecord](c.Value)
	if err != nil {
		t.find("records", token, "is not JSON: %v", err)
		return
	}
	l.record = after
	if e.who != "" {
		t.checkFence(e, "launch "+token, false)
	}
	l.setBack = l.setBack || e.who == ""
	if after == nil {
		return
	}
	l.count = after.Count
	t.checkWindow(e, token, before, after)
	if e.who == "" { // set back: what was seen before was seen
		return
	}
	if after.State == "closed" && (before == nil || before.State != "closed") {
		l.closed = t.now
	}
	for n, a := range after.Attempts {
		known, outcome := 0, ""
		if before != nil && n < len(before.Attempts) {
			known, outcome = before.Attempts[n].Sends, before.Attempts[n].Outcome
		}
		if a.Outcome == "none" && outcome == "" {
			t.checkNone(token, a.ClientToken, a.LastSend)
		}
		l.sends[a.ClientToken] += max(0, a.Sends-known)
	}
	for id, at := range after.Removals {
		if before != nil && before.Removals[id].Equal(at) {
			continue
		}
		l.authorised[id] = append(l.authorised[id], since[string]{t.now, e.who})
		if !t.mayLeave(after) {
			t.find("P1", id, "to be removed, and launch %s is %s", token, after.State)
		}
	}
	for id, at := range after.Looks {
		if before == nil || before.Looks[id].IsZero() {
			l.looks[id] = t.begun(at)
		}
	}
}

// checkWindow: nothing is sent when so long has passed since the last send that the janitor settles the launch.
func (t *truth) checkWindow(e event, token string, before, after *launchRecord) {
	if before == nil || t.roles[e.who] != "launcher" {
		return
	}
	last := before.Created
	for _, a := range before.Attempts {
		if a.LastSend.After(last) {
			last = a.LastSend
		}
	}
	n := len(after.Attempts)
	sends := n > len(before.Attempts) || after.Attempts[n-1].Sends > before.Attempts[n-1].Sends
	if gap := after.Attempts[n-1].LastSend.Sub(last); sends && gap > t.shape.policy.LaunchWindow+maxSkew {
		t.find("P3", token, "sent again %s after it was sent last", gap)
	}
}

// checkOrphan: what a failed creation left is ended after two full looks at a launch that was closed.
func (t *truth) checkOrphan(by, id string, after *leaseRecord) {
	b, l := t.machines[id], t.launch(after.Launch)
	first, looked := l.looks[id]
	switch {
	case after.Cause != "failed-creation":
		t.find("P1", id, "a lease made revoked for %q", after.Cause)
	case b == nil || b.role != launchedRole || b.token != after.ClientToken:
		t.find("P1", id, "an orphan that the launch did not make")
	case t.lost(t.now.Add(-time.Minute)): // it was on its way when the launch's record was lost
	case l.record == nil || !t.mayLeave(l.record):
		t.find("P1", id, "an orphan of a launch that is not closed")
	case !looked || first.Before(l.closed.Add(-maxSkew)) || t.now.Sub(first) < t.shape.policy.OrphanGrace-maxSkew:
		t.find("P1", id, "an orphan after one sighting")
	}
	if !t.lost(t.now.Add(-time.Minute)) && !t.listedSince(by, first) {
		t.find("P1", id, "an orphan by %s, which has listed nothing since it was first seen", by)
	}
	if b != nil && t.always(b, t.now, leased) {
		t.find("P1", id, "an orphan, although its tag says that there was a lease")
	}
	t.checkHeld(id)
	t.checkPromise(id, "failed-creation")
	t.checkRate(id, after.Launch)
}

// checkPromise: nobody was told that the lease holds longer.
func (t *truth) checkPromise(id, cause string) {
	p, told := t.promises[id]
	if p.tagged && cause != "expired" {
		return // the tag guards the date alone
	}
	if told && p.what.After(t.now.Add(maxSkew)) {
		t.find("P1", id, "terminated for %s at %s, although its lease was promised to last until %s", cause, clockOf(t.now), clockOf(p.what))
	}
}

// listedSince reports whether a janitor has begun a full listing after a time.
func (t *truth) listedSince(who string, at time.Time) bool {
	lists := t.lists[who]
	return len(lists) > 0 && lists[len(lists)-1].After(at)
}

func clockOf(at time.Time) string { return at.UTC().Format(time.TimeOnly) }
