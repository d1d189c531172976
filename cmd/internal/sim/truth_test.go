package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lapse/lease/etcd/etcdsim"
)

// finding is a promise that was broken.
type finding struct {
	at      time.Duration // since the schedule began
	promise string        // P1 to P6, or what the design says
	id      string
	what    string
}

func (f finding) String() string {
	return fmt.Sprintf("%s at %s: %s: %s", f.promise, f.at, f.id, f.what)
}

// truth is what really is, as the trace tells it event by event.
type truth struct {
	outcome
	now time.Time

	roles       map[string]string // of processes
	alive       map[string]bool
	machines    map[string]*body
	leases      map[string]*file
	launches    map[string]*launchFile
	heartbeats  map[string]*pulse
	election    map[string]candidate
	unsure      bool // who was elected first: the election was restored
	registry    *registryRecord
	modes       []since[string]
	checkpoints []since[*checkpointRecord]
	swept       bool                 // etcd holds a checkpoint
	elected     map[string]time.Time // when each leader first was
	leaderships map[string]time.Time // first checkpoint of each leader
	promises    map[string]promise
	elections   []since[string]        // who was elected, from when on
	lists       map[string][]time.Time // full listings of each janitor, by when they began
	stolen      map[string]bool        // instances that a thief has had
	callers     map[string]*calling    // of the API, by instance
	upset       time.Time              // until when a fault may have taken heartbeats away
	skewed      time.Time              // until when a clock of the API was wrong
	vouched     time.Time              // when somebody last took the registry as it is
	losses      []time.Time            // when it was emptied or set back
	stalls      []span                 // of etcd
	stopped     []span                 // of janitors
	untaggable  []span                 // in which tags are denied, late, or cannot be written
	rests       []span                 // in which nobody watches
	short       []span                 // in which listings lack something, and do not say so
	engaged     time.Time              // since when one of these is engaged
	written     since[string]          // what somebody has written tags onto last
	standing    map[string]bool        // brakes of the last checkpoint that only a person can release
	ends        []end                  // that nobody declared

	findings []finding
	counts   counts
}

// counts of one schedule, for the report.
type counts struct {
	kills    map[string]int // by cause
	strikes  map[string]int // by fault
	coverage map[[2]string]int
	lost     map[string]int // promises that were set back with everything, by why they may be broken, or may not
	revoked  int
	created  int
	tagged   int
}

type since[T any] struct {
	at   time.Time
	what T
}

type span struct{ from, until time.Time }

// body is an instance.
type body struct {
	role, token, zone, state string
	made, entered            time.Time
	running                  time.Time // since when; zero if it does not
	tags                     []since[map[string]string]
	edited                   time.Time // when somebody else than we wrote onto these
	asked                    bool
}

func (b *body) ending() bool { return b.state == "shutting-down" || b.state == "terminated" }

// file is the record of one lease, and what the checker remembers of it.
type file struct {
	record     *leaseRecord // nil if there is none
	since      time.Time    // when it came to its state
	marked     time.Time    // when the present mark was written
	cured      time.Time
	bound      time.Time // since when it is known that it once was active
	forgotten  bool      // that is, and nobody is left who knows it
	by         string
	authorised []since[string] // to end it: when, and by whom
	// authorisedDate is the date on record by which that was; dates are all that it has said, shortened the numbers at which
	// a person brought it forward, or gave the lease.
	authorisedDate dated
	dates          map[dated]bool
	shortened      map[int64]bool
	active         time.Time // when it was last active, unless it is
	adopting       time.Time // when it was last being adopted
	changes        int64     // the highest counter of its changes
}

type launchFile struct {
	record   *launchRecord
	closed   time.Time
	looks    map[string]time.Time // when each was made
	sends    map[string]int       // by client token: how many were put on record
	requests map[string]int       // by client token: how many came to EC2
	made     map[string]bool      // instances
	// authorised are the writes to remove a piece: when, and by whom.
	authorised map[string][]since[string]
	count      int
	// setBack: its record was set back or lost, and neither that nor EC2 knows of all that it made.
	setBack bool
}

// pulse is the heartbeat key of an instance.
type pulse struct {
	there   bool
	until   time.Time     // when it was last there
	claimed time.Time     // when it was last written
	timeout time.Duration // that it says
	changes int64         // of its lease, that it says it has seen
}

type candidate struct {
	name    string
	created int64
}

// end is one that nobody declared.
type end struct {
	at                time.Time
	id, cause, launch string
	zone              string
	timeout           time.Duration
}

// judge reads the trace of a schedule.
func judge(o outcome) *truth {
	t := &truth{
		outcome: o, roles: map[string]string{}, alive: map[string]bool{}, machines: map[string]*body{}, leases: map[string]*file{},
		launches: map[string]*launchFile{}, heartbeats: map[string]*pulse{}, election: map[string]candidate{}, elected: map[string]time.Time{}, leaderships: map[string]time.Time{},
		promises: map[string]promise{}, stolen: map[string]bool{}, callers: map[string]*calling{}, lists: map[string][]time.Time{},
		counts: counts{kills: map[string]int{}, strikes: map[string]int{}, coverage: map[[2]string]int{}, lost: map[string]int{}},
	}
	for _, e := range o.trace.events {
		t.now = e.at
		t.take(e)
	}
	t.now = o.end.at
	t.checkEnd()
	return t
}

func (t *truth) find(promise, id, format string, args ...any) {
	t.findings = append(t.findings, finding{t.now.Sub(t.trace.began), promise, id, fmt.Sprintf(format, args...)})
}

func (t *truth) take(e event) {
	switch e.kind {
	case lived:
		t.roles[e.who], t.alive[e.who] = e.text, true
	case died:
		t.alive[e.who] = false
	case requested:
		t.takeRequested(e)
	case created:
		t.takeCreated(e)
	case entered:
		t.takeState(e)
	case tagged:
		t.takeTagged(e)
	case wrote:
		t.written = since[string]{t.now, e.id}
		t.checkWrote(e)
	case untagged:
		t.checkUntagged(e)
	case listed:
		t.lists[e.who] = append(t.lists[e.who], e.sent)
	case asked:
		t.checkKill(e)
	case promised:
		if f := t.leases[e.id]; f == nil || f.record == nil || f.record.until().Equal(e.when) || t.lost(t.now.Add(-2*time.Minute)) {
			t.promises[e.id] = promise{at: t.now, what: e.when} // or somebody else has moved the date while this was on its way
		}
	case unpromised:
		t.takeUnpromised(e)
	case struck:
		t.takeStrike(e)
	case denied:
		if l := t.launch(e.id); len(l.made) > 0 && !t.lost(time.Time{}) {
			t.find("P3", e.id, "%s was told that nothing was launched, but %d were", e.who, len(l.made))
		}
	case removed:
		t.checkRemoved(e)
	case deletedKey:
		t.checkDeletedKey(e)
	case called:
		t.takeCalled(e)
	case committed:
		t.takeCommit(e)
	}
}

// takeRequested: every single request to create instances is on record before it is sent.
func (t *truth) takeRequested(e event) {
	l := t.launchOf(e.id)
	l.requests[e.id]++
	if got, want := l.requests[e.id], l.sends[e.id]; got > want {
		t.find("P3", e.id, "%s sent request %d of that token, but its record had %d", e.who, got, want)
	}
}

func (t *truth) takeCreated(e event) {
	token, zone, _ := strings.Cut(e.text, " in ")
	t.machines[e.id] = &body{role: e.who, token: token, zone: zone, made: t.now, tags: []since[map[string]string]{{t.now, e.tags}}}
	if e.who != launchedRole {
		return
	}
	t.counts.created++
	l := t.launchOf(token)
	l.made[e.id] = true
	if len(l.made) > l.count && !l.setBack && !t.shape.quirks.ignoresTokens {
		t.find("P4", e.id, "instance %d of a launch of %d", len(l.made), l.count)
	}
}

// launchOf is the launch that a client token belongs to.
func (t *truth) launchOf(clientToken string) *launchFile {
	name := clientToken
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name = name[:dot]
	}
	return t.launch(name)
}

func (t *truth) launch(name string) *launchFile {
	if t.launches[name] == nil {
		t.launches[name] = &launchFile{looks: map[string]time.Time{}, sends: map[string]int{}, requests: map[string]int{}, made: map[string]bool{}, authorised: map[string][]since[string]{}}
	}
	return t.launches[name]
}

func (t *truth) takeState(e event) {
	b := t.machines[e.id]
	b.state, b.entered, b.running = e.text, t.now, time.Time{}
	if e.text == "running" {
		b.running = t.now
	}
}

// state of a lease as the report names it.
func (f *file) state() string {
	switch {
	case f.record == nil:
		return "lost"
	case f.record.State == "active" && f.record.Mark != nil:
		return "marked"
	}
	return f.record.State
}

func (t *truth) takeCommit(e event) {
	for _, c := range slices.Concat(e.commit.Puts, e.commit.Deletes) {
		switch kind, name := location(c.Key); kind {
		case "leases":
			t.takeLease(e, name, c)
		case "launches":
			t.takeLaunch(e, name, c)
		case "heartbeats":
			t.takeHeartbeat(e.who, name, c)
			t.stolen[name] = t.stolen[name] || strings.HasPrefix(e.who, "thief-")
		case "enrolments":
			t.takeEnrolment(e, name, c)
		case "registry":
			t.registry, _ = read[registryRecord](c.Value)
			mode := "lost"
			if t.registry != nil {
				mode = t.registry.Mode
			}
			t.modes = append(t.modes, since[string]{t.now, mode})
		case "checkpoint":
			t.takeCheckpoint(e, c)
		case "plan":
			t.takePlan(e, c)
		case "election":
			t.takeElection(e, c)
		}
	}
}

func (t *truth) takeHeartbeat(who, id string, c etcdsim.Change) {
	p := t.heartbeats[id]
	if p == nil {
		p = &pulse{}
		t.heartbeats[id] = p
	}
	if p.there {
		p.until = t.now
	}
	p.there = c.Value != nil && c.Lease != 0
	t.checkSeen(who, id, c)
	if hb, err := read[heartbeatRecord](c.Value); err == nil && hb != nil {
		p.timeout, _ = time.ParseDuration(hb.Timeout)
		p.changes = hb.Changes
	}
	if p.there {
		p.until, p.claimed = t.now, t.now
	}
}

func (t *truth) takeCheckpoint(e event, c etcdsim.Change) {
	checkpoint, err := read[checkpointRecord](c.Value)
	t.swept = checkpoint != nil
	if err != nil || checkpoint == nil || e.who == "" {
		return
	}
	t.checkFence(e, "checkpoint", false)
	t.checkpoints = append(t.checkpoints, since[*checkpointRecord]{t.now, checkpoint})
	held := t.standing["rollback"] || t.standing["unwatched"]
	t.standing = map[string]bool{}
	for _, b := range checkpoint.Brakes {
		if b.Scope == "" && (b.Name == "rollback" || b.Name == "unwatched") {
			t.standing[b.Name] = true
		}
	}
	if (t.standing["rollback"] || t.standing["unwatched"]) && !held {
		t.engaged = t.now
	}
	if t.standing["rollback"] && len(t.losses) == 0 {
		t.find("brake", checkpoint.Leader, "says that the registry was set back, but it was not")
	}
	if _, known := t.leaderships[checkpoint.Leader]; !known {
		t.leaderships[checkpoint.Leader] = t.now
	}
}

// takePlan: the leader alone writes what it would do, and nothing while it does it.
func (t *truth) takePlan(e event, c etcdsim.Change) {
	if e.who == "" {
		return
	}
	t.checkFence(e, "plan", false)
	if c.Value != nil && (t.registry == nil || t.registry.Mode == "armed") {
		t.find("fence", e.who, "publishes a plan although the registry is armed")
	}
}

// modeAt is the registry's mode at a time.
func (t *truth) modeAt(at time.Time) string {
	mode := ""
	for _, m := range t.modes {
		if m.at.After(at) {
			break
		}
		mode = m.what
	}
	return mode
}

// wroteTags reports whether the registry's mode was, at any time between two, one in which janitors write tags.
func (t *truth) wroteTags(from, until time.Time) bool {
	modes := []string{t.modeAt(from)}
	for _, m := range t.modes {
		if m.at.After(from) && !m.at.After(until) {
			modes = append(modes, m.what)
		}
	}
	return slices.Contains(modes, "armed") || slices.Contains(modes, "paused")
}
