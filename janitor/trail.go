package janitor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// trail tells what others do to the records, by comparing each with what it was: leases have a history, launches a
// state. What was there when office was taken is not told.
type trail struct {
	tell  func(Event)                 // of what others do: nothing waits for it
	actor string                      // ours, as histories name it
	busy  func(lease.Location) bool   // whether we are carrying out a plan there: what is written now may be ours
	later map[lease.Location][]func() // to be told then, if we have not told it by then
	upTo  int64                       // everything before this revision was told
	last  map[string]bool             // ids of what was told of the last revision
	again int64                       // until this revision, the watch tells for the second time
	twice map[string]bool             // ids of what it had told of that

	mu  sync.Mutex
	own map[string]wrote // by instance id or token: what we wrote last, and told
}

// wrote is a record as written: its revision and, of a lease, its change counter.
type wrote struct{ revision, changes int64 }

func newTrail(tell func(Event), actor string, busy func(lease.Location) bool) *trail {
	return &trail{tell: tell, actor: actor, busy: busy, later: map[lease.Location][]func(){}, last: map[string]bool{}, own: map[string]wrote{}}
}

// compare tells what others did between what this leader observed last and a newer snapshot: most of it the watch has
// told already. The first snapshot is where the trail begins, and so is one that was set back.
func (t *term) compare(s lease.Snapshot, setBack bool) {
	before := t.joined
	if before.Revision > 0 && s.Revision >= t.trail.upTo {
		t.trail.registry(before.Registry, s.Registry)
		for i := range s.Launches {
			if l := &s.Launches[i]; l.Revision >= t.trail.upTo {
				t.trail.launch(t.Now(), t.launchOf(l.Token), *l)
			}
		}
		for i := range s.Leases {
			if l := &s.Leases[i]; l.Revision >= t.trail.upTo {
				t.trail.lease(t.leaseOf(l.InstanceID), *l)
			}
		}
	}
	t.trail.begin(s.Revision, setBack, t.idle())
}

// begin forgets what is older than a snapshot, unless it is needed still. While the snapshot was read, the watch may have
// told more; the next one begins with it.
func (r *trail) begin(revision int64, setBack, idle bool) {
	r.again, r.twice = r.upTo, r.last
	if setBack {
		r.again = 0
	}
	r.upTo, r.last = revision, map[string]bool{}
	if !idle {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.own, func(_ string, w wrote) bool { return w.revision <= revision })
}

// heard reports whether the watch has told a revision of a record before.
func (r *trail) heard(id string, revision int64) bool {
	if revision < r.again || revision == r.again && r.twice[id] {
		return true
	}
	if revision > r.upTo {
		r.upTo, r.last = revision, map[string]bool{}
	}
	if revision == r.upTo {
		r.last[id] = true
	}
	return false
}

// did tells an event of our own.
func (r *trail) did(e Event) {
	if e.Revision > 0 {
		id := e.InstanceID
		if id == "" {
			id = e.Launch
		}
		r.mu.Lock()
		r.own[id] = wrote{max(r.own[id].revision, e.Revision), max(r.own[id].changes, e.changes)}
		r.mu.Unlock()
	}
	r.tell(e)
}

// told is what we wrote, and told, of a record.
func (r *trail) told(id string) wrote {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own[id]
}

// lease tells what others did to a lease between two of its revisions; before is zero if it was not there. What we did
// ourselves is told if it was not: a write whose answer was lost may have landed.
func (r *trail) lease(before, l lease.Lease) {
	if l.Revision == before.Revision {
		return
	}
	if r.heard(l.InstanceID, l.Revision) {
		return
	}
	news := l.Recent()
	switch n := l.Changes - before.Changes; {
	case n <= 0, len(news) == 0:
		return
	case n > int64(len(news)):
		r.tell(ofLease(l, EventForgotten, fmt.Sprintf("%d changes are not told: its record remembers the last %d", n-int64(len(news)), len(news))))
	default:
		news = news[int64(len(news))-n:]
	}
	for n, h := range news {
		e := ofLease(l, kindOf(h.Action), h.Reason)
		e.Time, e.Actor = h.Time, h.Actor
		e.Evidence = Evidence{ExpiresAt: l.ExpiresAt}
		switch {
		case h.Action == lease.ActionMaxTerm:
			e.Evidence.MaxBefore, e.Evidence.MaxExpiresAt = h.From, h.To
		case !h.To.IsZero():
			e.Evidence.Before, e.Evidence.ExpiresAt = h.From, h.To
		}
		if e.Kind == EventRevoked {
			e.Cause = l.Cause
		}
		number := l.Changes - int64(len(news)-1-n)
		r.unless(l.Location(), h.Actor == r.actor, func() bool { return r.told(l.InstanceID).changes >= number }, func() {
			r.tell(e)
		})
	}
}

// unless tells what may be ours, unless we have told it: as soon as that is known.
func (r *trail) unless(location lease.Location, maybeOurs bool, told func() bool, tell func()) {
	switch {
	case !maybeOurs:
		tell()
	case told():
	case r.busy(location):
		r.later[location] = append(r.later[location], func() {
			if !told() {
				tell()
			}
		})
	default:
		tell()
	}
}

// settle tells what was left until it is known what we have done in a location.
func (r *trail) settle(location lease.Location) {
	for _, tell := range r.later[location] {
		tell()
	}
	delete(r.later, location)
}

func ofLease(l lease.Lease, kind EventKind, reason string) Event {
	return Event{
		Time: l.History[len(l.History)-1].Time, Kind: kind, InstanceID: l.InstanceID, Launch: l.Launch, Location: l.Location().String(), Zone: plan.ZoneOf(&l, nil),
		Reason: reason, Revision: l.Revision,
	}
}

// kindOf is the kind of event that a history calls by the name of its action.
func kindOf(action string) EventKind {
	kinds := map[string]EventKind{
		"mark": EventMarked, "unmark": EventUnmarked, "revoke": EventRevoked, "orphan": EventRevoked, "stuck": EventStuck,
		"end": EventEnded, "reopen": EventReopened, "activate": EventActivated,
		"bind": "bound", "adopt": "adopted", "claim": "claimed", "extend": "extended", "shorten": "shortened",
		"unmanage": "unmanaged", lease.ActionRaise: EventRaised, "note-tag": EventTagNoted, "keep": EventKept,
	}
	if kind, known := kinds[action]; known {
		return kind
	}
	return EventKind(action)
}

// launch tells what others did to a launch between two of its revisions.
func (r *trail) launch(at time.Time, before, now lease.Launch) {
	if now.Revision == before.Revision {
		return
	}
	if r.heard(now.Token, now.Revision) {
		return
	}
	told := func() bool { return r.told(now.Token).revision >= now.Revision }
	r.unless(now.Location(), true, told, func() { r.launchChanged(at, before, now) })
}

func (r *trail) launchChanged(at time.Time, before, now lease.Launch) {
	tell := func(kind EventKind, reason, code string, instances []string) {
		r.tell(Event{
			Time: at, Kind: kind, Launch: now.Token, Location: now.Location().String(), Reason: reason, Code: code,
			Evidence: Evidence{Instances: instances}, Revision: now.Revision,
		})
	}
	if before.Token == "" {
		tell(EventOpened, fmt.Sprintf("asks for %d instances, for holder %q", now.Count, now.Holder), "", nil)
	}
	for n, a := range now.Attempts {
		var was lease.Outcome
		if n < len(before.Attempts) {
			was = before.Attempts[n].Outcome
		}
		if a.Outcome == was {
			continue
		}
		switch a.Outcome {
		case lease.OutcomeLaunched:
			tell(EventAnswered, "EC2 answered "+a.ClientToken, "", a.Instances)
		case lease.OutcomeRefused:
			tell(EventDeclined, "EC2 refused "+a.ClientToken, a.Code, nil)
		}
	}
	if now.State == before.State {
		return
	}
	switch now.State {
	case lease.LaunchOpen:
	case lease.LaunchDone:
		tell(EventDone, now.Reason, "", nil)
	case lease.LaunchClosed:
		tell(EventClosed, now.Reason, "", nil)
	}
}

// registry tells that somebody armed, paused or disarmed the registry, or lifted a brake.
func (r *trail) registry(before, reg lease.Registry) {
	if r.heard("", reg.Revision) {
		return
	}
	for _, said := range reg.Resumed {
		if slices.Contains(before.Resumed, said) {
			continue
		}
		r.tell(Event{
			Time: said.At, Kind: EventBrakeRelease, Actor: said.By, Brake: said.Name, Scope: said.Scope, Reason: cmp.Or(said.Why, said.Reason),
			Revision: reg.Revision,
		})
	}
	if reg.Mode != before.Mode {
		r.tell(Event{
			Time: reg.ModeSince, Kind: EventKind(reg.Mode), Actor: reg.ModeBy, Reason: cmp.Or(reg.ModeReason, "it was "+string(before.Mode)),
			Evidence: Evidence{Mode: before.Mode}, Revision: reg.Revision,
		})
	}
}
