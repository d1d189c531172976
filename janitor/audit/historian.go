package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"lapse/lease"
)

// Historian tells what others do to the records, by comparing each with what it was: leases have a history, launches a
// state. What was there at the beginning is not told. It belongs to the leader's loop, except [Historian.Did].
type Historian struct {
	emit  func(Event)                 // of what others do: nothing waits for it
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

// NewHistorian tells events with tell. actor is our name in histories. busy reports whether a plan is being carried out in a
// location, so that what changes there may be our own work, which is about to be told.
func NewHistorian(tell func(Event), actor string, busy func(lease.Location) bool) *Historian {
	return &Historian{emit: tell, actor: actor, busy: busy, later: map[lease.Location][]func(){}, last: map[string]bool{}, own: map[string]wrote{}}
}

// Compare tells what others did until a snapshot was read, of which a watch may have told most already. The first snapshot is
// where the story begins, and so is one that was set back. before is the registry as observed last, zero if it was not yet;
// leaseOf and launchOf are its records.
func (h *Historian) Compare(at time.Time, before lease.Registry, now lease.Snapshot, leaseOf func(id string) lease.Lease, launchOf func(token string) lease.Launch) {
	if before.UUID == "" || now.Revision < h.upTo {
		return
	}
	h.Registry(before, now.Registry)
	for i := range now.Launches {
		if l := &now.Launches[i]; l.Revision >= h.upTo {
			h.Launch(at, launchOf(l.Token), *l)
		}
	}
	for i := range now.Leases {
		if l := &now.Leases[i]; l.Revision >= h.upTo {
			h.Lease(leaseOf(l.InstanceID), *l)
		}
	}
}

// Begin forgets what is older than a snapshot, unless it is still needed. While the snapshot was read, the watch may
// have reported more; the next one begins with it. idle says that no write of this janitor is in flight.
func (h *Historian) Begin(revision int64, setBack, idle bool) {
	h.again, h.twice = h.upTo, h.last
	if setBack {
		h.again = 0
	}
	h.upTo, h.last = revision, map[string]bool{}
	if !idle {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.own, func(_ string, w wrote) bool { return w.revision <= revision })
}

// seen reports whether the watch has told a revision of a record before.
func (h *Historian) seen(id string, revision int64) bool {
	if revision < h.again || revision == h.again && h.twice[id] {
		return true
	}
	if revision > h.upTo {
		h.upTo, h.last = revision, map[string]bool{}
	}
	if revision == h.upTo {
		h.last[id] = true
	}
	return false
}

// Did tells an event of our own. It is safe for many goroutines.
func (h *Historian) Did(e Event) {
	if e.Revision > 0 {
		id := cmp.Or(e.InstanceID, e.Launch)
		h.mu.Lock()
		h.own[id] = wrote{max(h.own[id].revision, e.Revision), max(h.own[id].changes, e.Changes)}
		h.mu.Unlock()
	}
	h.emit(e)
}

// emitted is what we wrote, and told, of a record.
func (h *Historian) emitted(id string) wrote {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.own[id]
}

// Lease tells what others did to a lease between two of its revisions; before is zero if it was not there. What we did
// ourselves is told if it was not: a write whose answer was lost may have landed.
func (h *Historian) Lease(before, l lease.Lease) {
	if l.Revision == before.Revision || h.seen(l.InstanceID, l.Revision) {
		return
	}
	news, forgotten := l.Since(before.Changes)
	if len(news) > 0 && forgotten > 0 {
		e := ofLease(l, news[len(news)-1])
		e.Kind, e.Actor, e.Cause, e.Evidence = lease.ActionForget, ActorUnknown, "", Evidence{}
		e.Reason = fmt.Sprintf("%d changes are missing: the record keeps only the last %d", forgotten, len(news))
		h.emit(e)
	}
	for n, t := range news {
		number := l.Changes - int64(len(news)-1-n)
		h.unless(l.Location(), t.Actor == h.actor, func() bool { return h.emitted(l.InstanceID).changes >= number }, func() {
			h.emit(ofLease(l, t))
		})
	}
}

// unless tells what may be ours, unless we have told it: as soon as that is known.
func (h *Historian) unless(location lease.Location, maybeOurs bool, told func() bool, tell func()) {
	switch {
	case !maybeOurs:
		tell()
	case told():
	case h.busy(location):
		h.later[location] = append(h.later[location], func() {
			if !told() {
				tell()
			}
		})
	default:
		tell()
	}
}

// Settle tells what was left until it is known what we have done in a location.
func (h *Historian) Settle(location lease.Location) {
	for _, tell := range h.later[location] {
		tell()
	}
	delete(h.later, location)
}

// ofLease is the event that a transition in the history of a lease was.
func ofLease(l lease.Lease, t lease.Transition) Event {
	e := Event{
		Time: t.Time, Kind: t.Action, Actor: cmp.Or(t.Actor, ActorUnknown), InstanceID: l.InstanceID, Launch: l.Launch,
		Location: l.Location().String(), Zone: cmp.Or(l.ZoneID, l.Zone),
		Reason: t.Reason, Evidence: Evidence{ExpiresAt: l.ExpiresAt}, Revision: l.Revision,
	}
	switch {
	case t.Action == lease.ActionMaxTerm:
		e.Evidence.MaxBefore, e.Evidence.MaxExpiresAt = t.From, t.To
	case !t.To.IsZero():
		e.Evidence.Before, e.Evidence.ExpiresAt = t.From, t.To
	}
	if t.Action == lease.ActionRevoke || t.Action == lease.ActionOrphan {
		e.Cause = l.Cause
	}
	return e
}

// Enrolment tells that a key was enrolled, or that somebody was invited to enrol one. l is the lease, zero if there is none yet.
// What happens while nobody watches is in the log of the API alone.
func (h *Historian) Enrolment(l lease.Lease, e lease.Enrolment) {
	if h.seen("enrolment "+e.InstanceID, e.Revision) || e.Last == nil {
		return
	}
	told := Event{
		Time: e.Last.Time, Kind: e.Last.Action, Actor: e.Last.Actor, InstanceID: e.InstanceID, Launch: l.Launch, Reason: e.Last.Reason, Revision: e.Revision,
	}
	if l.InstanceID != "" {
		told.Location, told.Zone = l.Location().String(), cmp.Or(l.ZoneID, l.Zone)
	}
	h.emit(told)
}

// Launch tells what others did to a launch between two of its revisions.
func (h *Historian) Launch(at time.Time, before, now lease.Launch) {
	if now.Revision == before.Revision || h.seen(now.Token, now.Revision) {
		return
	}
	told := func() bool { return h.emitted(now.Token).revision >= now.Revision }
	h.unless(now.Location(), true, told, func() { h.launchChanged(at, before, now) })
}

func (h *Historian) launchChanged(at time.Time, before, now lease.Launch) {
	launcher := "launcher:" + cmp.Or(now.Holder, ActorUnknown)
	tell := func(kind lease.Action, actor, reason, code string, instances []string) {
		h.emit(Event{
			Time: at, Kind: kind, Actor: actor, Launch: now.Token, Location: now.Location().String(), Reason: reason, Code: code,
			Evidence: Evidence{Instances: instances}, Revision: now.Revision,
		})
	}
	if before.Token == "" {
		tell(lease.ActionLaunchOpen, launcher, fmt.Sprintf("asks for %d instances, for holder %q", now.Count, now.Holder), "", nil)
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
			tell(lease.ActionLaunchAnswer, launcher, "EC2 answered "+a.ClientToken, "", a.Instances)
		case lease.OutcomeNone:
			tell(lease.ActionLaunchAnswer, launcher, "nothing was found of "+a.ClientToken, "", nil)
		case lease.OutcomeRefused:
			tell(lease.ActionLaunchRefuse, launcher, "EC2 refused "+a.ClientToken, a.Code, nil)
		}
	}
	if now.State == before.State {
		return
	}
	switch now.State {
	case lease.LaunchOpen:
	case lease.LaunchDone:
		if now.WindowOver(now.SettledAt) { // until then, a janitor completes nothing
			launcher = ActorUnknown
		}
		tell(lease.ActionLaunchComplete, launcher, now.Reason, "", nil)
	case lease.LaunchClosed:
		tell(lease.ActionLaunchClose, ActorUnknown, now.Reason, "", nil)
	}
}

// Registry tells that somebody armed or paused the registry, had it observe, or released a brake.
func (h *Historian) Registry(before, reg lease.Registry) {
	if h.seen("", reg.Revision) {
		return
	}
	for _, said := range reg.Resumed {
		if slices.Contains(before.Resumed, said) {
			continue
		}
		h.emit(Event{
			Time: said.At, Kind: lease.ActionBrakeRelease, Actor: cmp.Or(said.By, ActorUnknown), Brake: said.Name, Scope: said.Scope,
			Reason: cmp.Or(said.Why, said.Reason), Revision: reg.Revision,
		})
	}
	if reg.Mode != before.Mode {
		h.emit(Event{
			Time: reg.ModeSince, Kind: reg.Mode.Action(), Actor: cmp.Or(reg.ModeBy, ActorUnknown),
			Reason: cmp.Or(reg.ModeReason, "it was "+string(before.Mode)), Evidence: Evidence{Mode: before.Mode}, Revision: reg.Revision,
		})
	}
}
