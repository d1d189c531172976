package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/lease"
)

// watched says which leases somebody watches.
type watched struct {
	filter

	ids        []string // instances and launch tokens; empty: any
	heartbeats bool     // heartbeats too
	all        bool     // nothing is left out
}

func readWatched(c *ucli.Context) (w watched, err error) {
	if w.filter, err = readFilter(c); err != nil {
		return w, err
	}
	if len(c.StringSlice("state")) == 0 {
		if w.states, err = readStates([]string{"all"}); err != nil { // an end is news
			return w, err
		}
	}
	if w.ids, err = namedIfAny(c); err != nil {
		return w, err
	}
	w.heartbeats = !c.Bool("no-heartbeats")
	w.all = len(w.ids) == 0 && !w.chooses() && len(c.StringSlice("state")) == 0
	return w, err
}

// onRecord refuses an id of which the registry has nothing: nothing would ever be told of it.
func (w watched) onRecord(s lease.Snapshot) error {
	for _, id := range w.ids {
		known := slices.ContainsFunc(s.Leases, func(l lease.Lease) bool { return l.InstanceID == id }) ||
			slices.ContainsFunc(s.Launches, func(l lease.Launch) bool { return l.Token == id }) ||
			slices.ContainsFunc(s.Bad, func(b lease.BadRecord) bool { return b.ID == id })
		if !known {
			return missing(s, id)
		}
	}
	return nil
}

func (w watched) wants(l lease.Lease, now time.Time) bool {
	named := len(w.ids) == 0 || slices.Contains(w.ids, l.InstanceID) || l.Launch != "" && slices.Contains(w.ids, l.Launch)
	return named && w.has(l, now)
}

// watcher knows of each lease that is not over which of its changes were told, and who beats. That is all it keeps.
type watcher struct {
	watched

	leases   map[string]toldOf
	boots    map[string]string // by instance id, of whoever beats
	revision int64             // of the registry: what is older was told, or was there at the beginning
}

// toldOf is what was told of one lease.
type toldOf struct {
	changes int64
	wanted  bool // so are its heartbeats
}

func newWatcher(s lease.Snapshot, wanted watched) *watcher {
	w := &watcher{watched: wanted, leases: map[string]toldOf{}, boots: map[string]string{}, revision: s.Revision}
	for _, l := range s.Leases {
		w.note(l, time.Now())
	}
	for id, heartbeat := range s.Heartbeats {
		w.boots[id] = heartbeat.BootID
	}
	return w
}

// watchLine is one line of `lease watch` for programs.
type watchLine struct {
	event

	State    lease.State `json:"state,omitzero"` // after it
	Holder   string      `json:"holder,omitzero"`
	Launch   string      `json:"launch,omitzero"`
	Cause    lease.Cause `json:"cause,omitzero"`
	Deadline time.Time   `json:"deadline,omitzero"` // of a mark: not before then
}

// Actions of lines that are no transitions.
const (
	lineInitial  lease.Action = "initial"        // the lease as it was when the watch began; its term is in the field to
	lineRenewing lease.Action = "renewing"       // a sidecar begins to renew it
	lineLost     lease.Action = "heartbeat-lost" // nothing renews it any more
)

// columns print a line for people.
func (l watchLine) columns() []string {
	detail := []string{}
	switch before, after := l.expiries(); {
	case l.Action == lineInitial && !l.To.IsZero():
		detail = append(detail, "until "+after)
	case after != "-":
		detail = append(detail, before+" → "+after)
	}
	if l.Reason != "" {
		detail = append(detail, l.Reason)
	}
	if !l.Deadline.IsZero() {
		detail = append(detail, "ends from "+l.Deadline.UTC().Format(time.RFC3339)+" on")
	}
	return []string{
		l.Time.UTC().Format(time.RFC3339), fmt.Sprintf("%-19s", l.InstanceID), fmt.Sprintf("%-8s", l.Action),
		fmt.Sprintf("%-12s", dash(l.Actor)), dash(strings.Join(detail, "; ")),
	}
}

// initial tells of the leases as they are.
func (w *watcher) initial(s lease.Snapshot, now time.Time) []watchLine {
	lines, known := []watchLine{}, s.Circumstances(now)
	byEnd(s.Leases)
	for _, l := range s.Leases {
		if !w.wants(l, now) || l.State == lease.StateEnded || l.State == lease.StateUnmanaged {
			continue
		}
		line := lineOf(l)
		line.event = event{InstanceID: l.InstanceID, Time: now.UTC().Truncate(time.Millisecond), Action: lineInitial, To: l.ExpiresAt}
		words := []string{string(l.State), l.Holder, note(l, known, now)}
		line.Reason = strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), ", ")
		lines = append(lines, line)
	}
	return lines
}

func lineOf(l lease.Lease) watchLine {
	return watchLine{State: l.State, Holder: l.Holder, Launch: l.Launch, Cause: l.Cause}
}

// see takes a change in, and returns what is to be told of it.
func (w *watcher) see(c lease.Change, now time.Time) []watchLine {
	switch {
	case c.Lease != nil:
		return w.seeLease(*c.Lease, now)
	case c.Heartbeat != nil:
		return w.seeHeartbeat(*c.Heartbeat, now)
	case c.Lapsed != "":
		return w.seeLoss(c.Lapsed, now)
	case c.Snapshot != nil:
		return w.catchUp(*c.Snapshot, now)
	}
	return nil
}

// seeLease tells the transitions of a lease that were not told yet, as far as its history goes back.
func (w *watcher) seeLease(l lease.Lease, now time.Time) []watchLine {
	before, there := w.leases[l.InstanceID]
	news, forgotten := l.Since(before.changes)
	if n := len(news); !there && n > 0 && (forgotten > 0 || news[n-1].Action == lease.ActionReopen) {
		news = news[n-1:] // it was over, and what led there was told or is old
	}
	w.note(l, now)
	if !w.wants(l, now) {
		return nil
	}
	lines := []watchLine{}
	for _, t := range news {
		line := lineOf(l)
		line.event = eventOf(l, t)
		if t.Action == lease.ActionMark && l.Mark != nil {
			line.Cause, line.Deadline = l.Mark.Cause, l.Mark.Deadline
			line.Reason = cmp.Or(line.Reason, string(l.Mark.Cause))
		}
		lines = append(lines, line)
	}
	return lines
}

// note remembers what is told of a lease, and forgets one that is over: it hardly ever changes any more.
func (w *watcher) note(l lease.Lease, now time.Time) {
	w.revision = max(w.revision, l.Revision)
	if l.State == lease.StateEnded || l.State == lease.StateUnmanaged {
		delete(w.leases, l.InstanceID)
		return
	}
	w.leases[l.InstanceID] = toldOf{l.Changes, w.wants(l, now)}
}

// seeHeartbeat tells of a sidecar that begins to beat. One that only notes what it saw of its lease is none.
func (w *watcher) seeHeartbeat(h lease.Heartbeat, now time.Time) []watchLine {
	boot, renewing := w.boots[h.InstanceID]
	w.boots[h.InstanceID] = h.BootID
	if renewing && boot == h.BootID {
		return nil
	}
	reason := "boot " + h.BootID
	if h.Address != "" {
		reason += " from " + h.Address
	}
	if h.Version != "" {
		reason += ", version " + h.Version
	}
	if renewing {
		reason += ", instead of boot " + boot
	}
	return w.ofHeartbeat(h.InstanceID, lineRenewing, reason, now)
}

func (w *watcher) seeLoss(id string, now time.Time) []watchLine {
	boot, renewing := w.boots[id]
	if !renewing {
		return nil
	}
	delete(w.boots, id)
	return w.ofHeartbeat(id, lineLost, "the heartbeat of boot "+boot+" is gone", now)
}

// ofHeartbeat tells of a heartbeat if its lease is wanted; without a lease, if everything is, or this very instance.
func (w *watcher) ofHeartbeat(id string, action lease.Action, reason string, now time.Time) []watchLine {
	l, leased := w.leases[id]
	wanted := w.all || leased && l.wanted || !leased && slices.Contains(w.ids, id)
	if !w.heartbeats || !wanted {
		return nil
	}
	return []watchLine{{event: event{
		InstanceID: id, Time: now.UTC().Truncate(time.Millisecond), Actor: "sidecar", Action: action, Reason: reason,
	}}}
}

// catchUp tells what differs in a new listing, in the order of time.
func (w *watcher) catchUp(s lease.Snapshot, now time.Time) []watchLine {
	lines, since := []watchLine{}, w.revision
	for _, l := range s.Leases {
		if l.Revision > since {
			lines = append(lines, w.seeLease(l, now)...)
		}
	}
	slices.SortStableFunc(lines, func(a, b watchLine) int { return a.Time.Compare(b.Time) })
	for id := range w.boots {
		if _, renewing := s.Heartbeats[id]; !renewing {
			lines = append(lines, w.seeLoss(id, now)...)
		}
	}
	for _, h := range s.Heartbeats {
		lines = append(lines, w.seeHeartbeat(h, now)...)
	}
	w.revision = max(w.revision, s.Revision)
	return lines
}
