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
		if w.states, err = readStates([]string{"all"}); err != nil { // that a lease ends is news
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

// onRecord refuses an id that the registry does not have, since nothing would ever be reported for it.
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

// watcher keeps, for each lease that has not ended, which changes were reported, and which sidecar renews it. It keeps
// nothing else.
type watcher struct {
	watched

	leases   map[string]toldOf
	renewing map[string]renewer // by instance id
	revision int64              // of the registry; older changes were reported, or had happened before the start
}

// toldOf is what was reported of one lease.
type toldOf struct {
	changes int64
	wanted  bool      // its heartbeats are reported too
	line    watchLine // what a line of its heartbeat says of it
}

// renewer is the sidecar that renews a lease.
type renewer struct{ boot, address string }

func renewerOf(h lease.Heartbeat) renewer { return renewer{h.BootID, h.Address} }

func newWatcher(s lease.Snapshot, wanted watched) *watcher {
	w := &watcher{watched: wanted, leases: map[string]toldOf{}, renewing: map[string]renewer{}, revision: s.Revision}
	for _, l := range s.Leases {
		w.note(l, time.Now())
	}
	for id, heartbeat := range s.Heartbeats {
		w.renewing[id] = renewerOf(heartbeat)
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
	Deadline time.Time   `json:"deadline,omitzero"` // of a mark: the earliest date

	Labels  map[string]string `json:"labels,omitempty"`
	Address string            `json:"address,omitzero"` // of its sidecar, as that says; with a loss, as it last said
}

// Actions of lines that are not transitions.
const (
	lineInitial  lease.Action = "initial"        // the lease at the start of the watch; its expiry is in the field to
	lineRenewing lease.Action = "renewing"       // a sidecar starts to renew it
	lineLost     lease.Action = "heartbeat-lost" // nothing renews it any longer
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
		detail = append(detail, "may be terminated after "+l.Deadline.UTC().Format(time.RFC3339))
	}
	return []string{
		l.Time.UTC().Format(time.RFC3339), fmt.Sprintf("%-19s", l.InstanceID), fmt.Sprintf("%-8s", l.Action),
		fmt.Sprintf("%-12s", dash(l.Actor)), dash(strings.Join(detail, "; ")),
	}
}

// initial reports the leases as they are.
func (w *watcher) initial(s lease.Snapshot, now time.Time) []watchLine {
	lines, known := []watchLine{}, s.Circumstances(now)
	byEnd(s.Leases)
	for _, l := range s.Leases {
		if !w.wants(l, now) || l.State == lease.StateEnded || l.State == lease.StateUnmanaged {
			continue
		}
		line := w.lineOf(l)
		line.event = event{InstanceID: l.InstanceID, Time: now.UTC().Truncate(time.Millisecond), Action: lineInitial, To: l.ExpiresAt}
		words := []string{string(l.State), l.Holder, note(l, known, now)}
		line.Reason = strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), ", ")
		lines = append(lines, line)
	}
	return lines
}

func (w *watcher) lineOf(l lease.Lease) watchLine {
	return watchLine{
		State: l.State, Holder: l.Holder, Launch: l.Launch, Cause: l.Cause, Labels: l.Labels, Address: w.renewing[l.InstanceID].address,
	}
}

// see takes in a change, and returns what to report of it.
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

// seeLease reports the transitions of a lease that were not reported yet, as far as its history goes back.
func (w *watcher) seeLease(l lease.Lease, now time.Time) []watchLine {
	before, there := w.leases[l.InstanceID]
	news, forgotten := l.Since(before.changes)
	if n := len(news); !there && n > 0 && (forgotten > 0 || news[n-1].Action == lease.ActionReopen) {
		news = news[n-1:] // it had ended; its earlier changes were reported or are old
	}
	w.note(l, now)
	if !w.wants(l, now) {
		return nil
	}
	lines := []watchLine{}
	for _, t := range news {
		line := w.lineOf(l)
		line.event = eventOf(l, t)
		if t.Action == lease.ActionMark && l.Mark != nil {
			line.Cause, line.Deadline = l.Mark.Cause, l.Mark.Deadline
			line.Reason = cmp.Or(line.Reason, string(l.Mark.Cause))
		}
		lines = append(lines, line)
	}
	return lines
}

// note remembers what was reported of a lease, and forgets one that has ended, which hardly ever changes again.
func (w *watcher) note(l lease.Lease, now time.Time) {
	w.revision = max(w.revision, l.Revision)
	if l.State == lease.StateEnded || l.State == lease.StateUnmanaged {
		delete(w.leases, l.InstanceID)
		return
	}
	w.leases[l.InstanceID] = toldOf{l.Changes, w.wants(l, now), watchLine{Launch: l.Launch, Labels: l.Labels}}
}

// seeHeartbeat reports a sidecar that starts to renew, or that has another address. It ignores a change that only notes what the
// sidecar saw of its lease.
func (w *watcher) seeHeartbeat(h lease.Heartbeat, now time.Time) []watchLine {
	before, renewing := w.renewing[h.InstanceID]
	w.renewing[h.InstanceID] = renewerOf(h)
	if renewing && before == renewerOf(h) {
		return nil
	}
	reason := "boot " + h.BootID
	if h.Address != "" {
		reason += " from " + h.Address
	}
	if h.Version != "" {
		reason += ", version " + h.Version
	}
	if renewing && before.boot != h.BootID {
		reason += ", instead of boot " + before.boot
	}
	return w.ofHeartbeat(h.InstanceID, lineRenewing, reason, h.Address, now)
}

func (w *watcher) seeLoss(id string, now time.Time) []watchLine {
	before, renewing := w.renewing[id]
	if !renewing {
		return nil
	}
	delete(w.renewing, id)
	return w.ofHeartbeat(id, lineLost, "the heartbeat of boot "+before.boot+" is lost", before.address, now)
}

// ofHeartbeat reports a heartbeat if its lease is wanted; without a lease, if everything or this instance is wanted.
func (w *watcher) ofHeartbeat(id string, action lease.Action, reason, address string, now time.Time) []watchLine {
	l, leased := w.leases[id]
	wanted := w.all || leased && l.wanted || !leased && slices.Contains(w.ids, id)
	if !w.heartbeats || !wanted {
		return nil
	}
	line := l.line
	line.Address = address
	line.event = event{InstanceID: id, Time: now.UTC().Truncate(time.Millisecond), Actor: "sidecar", Action: action, Reason: reason}
	return []watchLine{line}
}

// catchUp reports what differs in a new snapshot, in the order of time.
func (w *watcher) catchUp(s lease.Snapshot, now time.Time) []watchLine {
	lines, since := []watchLine{}, w.revision
	for _, l := range s.Leases {
		if l.Revision > since {
			lines = append(lines, w.seeLease(l, now)...)
		}
	}
	slices.SortStableFunc(lines, func(a, b watchLine) int { return a.Time.Compare(b.Time) })
	for id := range w.renewing {
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
