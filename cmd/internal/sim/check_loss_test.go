package sim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

func (t *truth) takeStrike(e event) {
	t.counts.strikes[e.id]++
	states := map[string]bool{}
	for _, f := range t.leases {
		states[f.state()] = true
	}
	for _, l := range t.launches {
		if l.record != nil {
			states["launch "+l.record.State] = true
		}
	}
	for state := range states {
		t.counts.coverage[[2]string{e.id, state}]++
	}
	t.upsets(e)
	switch e.id {
	case "short listings":
		t.short, t.untaggable = append(t.short, span{t.now, e.until}), append(t.untaggable, span{t.now, e.until})
	case "janitor stopped":
		t.stopped = append(t.stopped, span{t.now, e.until})
	case "tags denied", "tags throttled", "tags late",
		"EC2 throttles", "EC2 answers 500", "janitor cut off from EC2", "janitor's account changes", "zone out of reach":
		t.untaggable = append(t.untaggable, span{t.now, e.until})
	case unwatched:
		t.rests = append(t.rests, span{t.now, e.until})
	case "etcd stalls", "etcd freezes":
		t.stalls = append(t.stalls, span{t.now, e.until})
	case "etcd emptied", "etcd restored":
		t.losses, t.ends = append(t.losses, t.now), nil // no record tells of these any more
		t.setBack(t.lostUnseen)
		t.forgetUnseen()
	case allSetBack:
		t.losses, t.ends = append(t.losses, t.now), nil
		t.setBack(func(id string, p promise) bool { return t.lostForAll(id, p, e.sent) })
		t.forget(e.sent)
	}
}

// editedSince is why a date that was in the tag is lost.
const editedSince = "its tag was edited since"

// lostForAll reports whether a promise may be broken because everything was set back to a snapshot: nobody is left who
// knows of it. That is so in the one hole that there is: under an hour without a janitor, in which the snapshot, the word and the
// set-back all fall. After longer than that, whoever leads has to hold everything. What a janitor had no time, or no way, to
// write onto the tag is counted apart.
func (t *truth) lostForAll(id string, p promise, taken time.Time) bool {
	if f := t.leases[id]; f != nil && f.record != nil && !f.record.until().Before(p.what) {
		return false
	}
	why := "on the tag"
	if !t.onTag(id, p) {
		why = t.whyUnwritten(p.at, t.now, taken)
	}
	switch tag := t.tagOf(id); {
	case why != "not written":
	case tag.number > 0 && tag.at.Sub(p.at) > time.Hour: // it may lag for an hour
		why = "over an hour ahead"
	case tag.number >= maxTagNumber: // somebody has edited it
		why = "no tag can follow"
	case t.machines[id] != nil && t.machines[id].edited.After(p.at):
		why = editedSince
	}
	t.counts.lost[why]++
	return slices.Contains([]string{"on the tag", "nobody led", "on its way", "observing", "tags could not be written", "over an hour ahead", "no tag can follow", editedSince}, why)
}

// whyUnwritten is why no janitor has written onto tags between two times what was agreed at the first, and what everything being set
// back to a snapshot that was taken then has lost.
func (t *truth) whyUnwritten(at, until, taken time.Time) string {
	var last time.Time // checkpoint that the snapshot holds
	sweeps, between := 0, 0
	for _, s := range t.checkpoints {
		switch {
		case !s.at.After(taken):
			last = s.at
		case s.at.Before(t.now):
			between++
		}
		if s.at.After(at) && s.at.Before(until) {
			sweeps++
		}
	}
	switch {
	case t.now.Sub(last) > time.Hour:
		return "unwatched"
	case between == 0:
		return "nobody led"
	case sweeps < 2:
		return "on its way"
	case t.modeAt(at) != "armed" && t.modeAt(at) != "paused", t.modeAt(until) != "armed" && t.modeAt(until) != "paused":
		return "observing"
	case slices.ContainsFunc(t.untaggable, func(s span) bool { return s.until.After(at) }):
		return "tags could not be written"
	}
	return "not written"
}

// forget notes of which leases nobody is left who knows that they were active, as everything is set back to a snapshot: no tag
// tells of it either. It is written once an instance runs, so one that ended soon never bore it.
func (t *truth) forget(taken time.Time) {
	for id, f := range t.leases {
		b := t.machines[id]
		if b == nil || !f.active.After(taken) || leased(b.tags[len(b.tags)-1].what) {
			continue
		}
		until := t.now
		if b.ending() {
			until = b.entered
		}
		f.forgotten = !slices.Contains([]string{"not written", "unwatched"}, t.whyUnwritten(f.active, until, taken))
	}
}

// tagOf is what the tag of an instance says.
func (t *truth) tagOf(id string) dated {
	b := t.machines[id]
	if b == nil {
		return dated{}
	}
	return readTag(b.tags[len(b.tags)-1].what)
}

// promise is what somebody was told.
type promise struct {
	at   time.Time // when
	what time.Time // until when the lease holds
	// tagged: the record has lost it, or somebody vouched for the record without it, and the instance's tag tells of it.
	tagged bool
}

// setBack lets go of the promises that were lost, unless the tag tells of them.
func (t *truth) setBack(lost func(id string, p promise) bool) {
	maps.DeleteFunc(t.promises, func(id string, p promise) bool {
		if !lost(id, p) {
			return false
		}
		if t.onTag(id, p) {
			p.tagged = true
			t.promises[id] = p
			return false
		}
		return true
	})
}

// onTag reports whether the instance's tag says what was promised, and no person has shortened it since by what is still on
// record.
func (t *truth) onTag(id string, p promise) bool {
	d := t.tagOf(id)
	if f := t.leases[id]; f != nil && f.record != nil {
		for n := range f.shortened {
			if n > d.number && n <= f.record.ExpiresNumber {
				return false
			}
		}
	}
	return d.number > 0 && !d.at.Before(p.what.Truncate(time.Second))
}

// takeUnpromised: a person has shortened it, gave it back, or vouches for the record as it is. What is on the tag outlasts
// only the last of these.
func (t *truth) takeUnpromised(e event) {
	vouches := strings.HasPrefix(e.text, "lifts") || e.text == "caught up"
	if e.id == "" {
		t.vouched = t.now
	}
	t.setBack(func(id string, _ promise) bool { return e.id == "" || e.id == id && vouches })
	if e.id != "" && !vouches {
		delete(t.promises, e.id)
	}
}

// lostUnseen reports whether a promise was lost just now, and no checkpoint after it that would tell, nor that nobody watched.
func (t *truth) lostUnseen(id string, p promise) bool {
	if f := t.leases[id]; f != nil && f.record != nil && !f.record.until().Before(p.what) {
		return false
	}
	return t.unseenSince(p.at)
}

// unseenSince reports whether no checkpoint tells that a registry that was set back just now has been later than that, nor a
// rest that nobody watched it.
func (t *truth) unseenSince(at time.Time) bool {
	if t.swept && slices.ContainsFunc(t.rests, func(s span) bool { return t.now.Before(s.until) }) {
		return false
	}
	return !slices.ContainsFunc(t.checkpoints, func(s since[*checkpointRecord]) bool { return s.at.After(at) && s.at.Before(t.now) })
}

// forgetUnseen notes of which leases nobody is left who knows that they were active, as etcd is set back: they were bound after
// the last checkpoint, and no tag tells of it either.
func (t *truth) forgetUnseen() {
	for id, f := range t.leases {
		b := t.machines[id]
		if f.bound.IsZero() || f.record.live() || b != nil && leased(b.tags[len(b.tags)-1].what) {
			continue
		}
		f.forgotten = f.forgotten || t.unseenSince(f.bound)
	}
}
