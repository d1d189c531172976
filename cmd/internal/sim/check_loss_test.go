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
	switch e.id {
	case "janitor stopped":
		t.stopped = append(t.stopped, span{t.now, e.until})
	case unwatched:
		t.rests = append(t.rests, span{t.now, e.until})
	case "etcd stalls", "etcd freezes":
		t.stalls = append(t.stalls, span{t.now, e.until})
	case "etcd emptied", "etcd restored":
		t.losses, t.ends = append(t.losses, t.now), nil // no record tells of these any more
		t.setBack(t.lostUnseen)
	}
}

// promise is what somebody was told.
type promise struct {
	at   time.Time // when
	what time.Time // until when the lease holds
	// tagged: the record has lost it, or somebody vouched for the record without it, and the instance's tag tells of it.
	tagged bool
	hole   string // why it may have been lost, if it may
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

// onTag reports whether the instance's tag says what was promised.
func (t *truth) onTag(id string, p promise) bool {
	b := t.machines[id]
	if b == nil {
		return false
	}
	d := readTag(b.tags[len(b.tags)-1].what)
	return twoKeys && d.number > 0 && !d.at.Before(p.what.Truncate(time.Second))
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

// lostUnseen reports whether a promise was lost just now, and no stamp after it that would tell, nor that nobody watched.
func (t *truth) lostUnseen(id string, p promise) bool {
	if t.swept && slices.ContainsFunc(t.rests, func(s span) bool { return t.now.Before(s.until) }) {
		return false
	}
	if f := t.leases[id]; f != nil && f.record != nil && !f.record.until().Before(p.what) {
		return false
	}
	return !slices.ContainsFunc(t.stamps, func(s since[*sweepRecord]) bool { return s.at.After(p.at) && s.at.Before(t.now) })
}
