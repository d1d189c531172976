package janitor

import (
	"maps"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// memory is what one leader has seen of heartbeats since it became leader, by its own monotonic clock. It is never stored:
// whoever leads next has to see for itself.
type memory struct {
	leadership time.Time
	term       uint64 // raft term of the last snapshot
	heartbeats map[string]*heartbeat
	round      int                  // of observing
	witness    map[string]time.Time // by zone: a lease of a sound instance there is known to have renewed after this
}

// beat is what was seen of one lease's heartbeat.
type heartbeat struct {
	restarted time.Time // the silence counts from here
	lapsed    time.Time // the key was first seen absent, or not expected; zero while it is present
	seen      bool      // claimed since the instance started, as far as the beating machine's clock tells
	heard     time.Time // LaunchTime of the start since which it was seen
	started   time.Time // the instance was seen to go to running; zero if not
	boot      string    // of the key that was seen last
	found     time.Time // when a key of that boot was first seen
	launched  time.Time // LaunchTime as last seen: it moves at every start
	halted    bool      // EC2 said last that the instance does not run
	shown     bool      // EC2 showed the instance, so it is known when it started last
	cured     time.Time // CuredAt of the lease, as last seen
	unmarked  bool      // cured since the key lapsed
	mark      time.Time // Since of the present mark, by whatever clock wrote it; zero if there is none
	marked    time.Time // when this leader first saw that mark
	held      bool      // a brake held it, or it was not shown, when it was judged last
	zone      string
	round     int // in which the lease was last observed
}

// anew lets the silence count from now.
func (b *heartbeat) anew(now time.Time) {
	b.restarted = now
	if !b.lapsed.IsZero() {
		b.lapsed = now
	}
}

// forget lets the silence count from now, and nothing that was seen before count.
func (b *heartbeat) forget(now time.Time) {
	b.anew(now)
	b.seen, b.started = false, time.Time{}
}

// newMemory begins with becoming leader.
func newMemory(now time.Time) *memory {
	return &memory{leadership: now, heartbeats: map[string]*heartbeat{}, witness: map[string]time.Time{}}
}

// restart lets every silence count anew: etcd was not to be trusted until now. Its stall, election or restart deletes
// heartbeats of the living, and extends those of the dead.
func (m *memory) restart(now time.Time) {
	clear(m.witness)
	for _, b := range m.heartbeats {
		b.anew(now)
	}
}

// observe takes in a snapshot and what EC2 says of the instances. read is just before the snapshot was read; both times
// carry monotonic readings. It is zero for a snapshot that was kept up by a watch, in which presence proves nothing: the
// watch may be late.
func (m *memory) observe(now, read time.Time, snapshot lease.Snapshot, instances map[plan.SeenAt]*lease.Instance) {
	if m.term != 0 && m.term != snapshot.Term {
		m.restart(now)
	}
	m.term = snapshot.Term
	m.round++
	unread := map[string]bool{}
	for _, bad := range snapshot.Bad {
		unread[bad.ID] = bad.Kind == plan.BadHeartbeat || unread[bad.ID]
	}
	for i := range snapshot.Leases {
		l := &snapshot.Leases[i]
		if l.State != lease.StateActive || l.HeartbeatTimeout <= 0 {
			continue
		}
		b := m.heartbeats[l.InstanceID]
		if b == nil {
			b = &heartbeat{restarted: now, cured: l.CuredAt}
			m.heartbeats[l.InstanceID] = b
		}
		b.round = m.round
		if b.held {
			b.restarted, b.held = now, false
		}
		instance := instances[plan.SeenAt{Location: l.Location(), ID: l.InstanceID}]
		if instance != nil { // what is not shown any more is still where it was
			b.zone = plan.ZoneOf(l, instance)
		}
		b.observeState(now, instance)
		if !l.CuredAt.Equal(b.cured) {
			b.cured, b.restarted, b.unmarked = l.CuredAt, now, true
		}
		b.observeMark(now, l.Mark)
		hb := snapshot.Heartbeats[l.InstanceID]
		b.observeKey(now, hb, hb.Held || unread[l.InstanceID])
		if !read.IsZero() && hb.Held && plan.Sound(snapshot.Registry, l, instance) {
			m.testify(read, b.zone, hb)
		}
	}
	maps.DeleteFunc(m.heartbeats, func(_ string, b *heartbeat) bool { return b.round != m.round })
}

// observeState notes a stop or a start of the instance: each lets the silence count anew. A start that nobody watched
// shows in the LaunchTime.
func (b *heartbeat) observeState(now time.Time, i *lease.Instance) {
	switch {
	case i == nil:
		b.forget(now)
		b.held = true
		return
	case i.State != lease.InstanceRunning:
		b.forget(now)
		b.halted = true
	case b.halted, !b.launched.IsZero() && !i.LaunchTime.Equal(b.launched):
		b.forget(now)
		b.halted, b.started = false, now
	}
	b.launched, b.shown = i.LaunchTime, true
}

// observeMark notes since when this leader has seen the notice that there is. Its dates are of the clock that wrote them,
// which may have been wrong.
func (b *heartbeat) observeMark(now time.Time, mark *lease.Mark) {
	switch {
	case mark == nil:
		b.mark, b.marked = time.Time{}, time.Time{}
	case b.marked.IsZero() || !mark.Since.Equal(b.mark):
		b.mark, b.marked = mark.Since, now
	}
}

// observeKey notes whether the heartbeat key is there. A key may outlast a stop and a start, and then says nothing of
// the boot that followed; nor does it while nobody knows of which boot it is. Its date tells, and, since the instance's
// clock may be ahead, whether it was there before the start.
func (b *heartbeat) observeKey(now time.Time, hb lease.Heartbeat, present bool) {
	if !present {
		if b.lapsed.IsZero() {
			b.restarted, b.lapsed = now, now
		}
		return
	}
	b.lapsed, b.unmarked = time.Time{}, false
	if hb.BootID == "" || b.boot != hb.BootID {
		b.boot, b.found = hb.BootID, now
	}
	older := hb.Since.Before(b.launched) || b.found.Before(b.launched)
	if b.seen = b.seen || b.shown && !b.halted && !older; b.seen {
		b.heard = b.launched
	}
}

// hear notes that the watch told of a heartbeat, which may be gone again before anything is decided.
func (m *memory) hear(now time.Time, hb lease.Heartbeat) {
	if b := m.heartbeats[hb.InstanceID]; b != nil && hb.Held {
		b.observeKey(now, hb, true)
	}
}

// testify makes the zone's renewals known: a key that is still there must have been renewed within its TTL. One with a timeout
// that no lease can have proves nothing.
func (m *memory) testify(read time.Time, zone string, hb lease.Heartbeat) {
	const slack = 2 * time.Second // etcd's own
	if hb.HeartbeatTimeout <= 0 || hb.HeartbeatTimeout > lease.Duration(lease.MaxHeartbeatTimeout) {
		return
	}
	if renewed := read.Add(-time.Duration(hb.HeartbeatTimeout) - slack); renewed.After(m.witness[zone]) {
		m.witness[zone] = renewed
	}
}

// held lets the silences of held leases count anew: a lifted brake restarts the grace. It counts from when the brake is
// found lifted, for between two decisions as much time may pass as between two sweeps.
func (m *memory) held(now time.Time, verdicts []plan.Verdict) {
	for _, v := range verdicts {
		if b := m.heartbeats[v.InstanceID]; b != nil && v.Action == plan.ActHold && v.Brake != plan.BrakeRate {
			b.restarted, b.held = now, true
		}
	}
}

// missing is for how long the heartbeat of an instance has been missed.
func (m *memory) missing(now time.Time, id string) time.Duration {
	if b := m.heartbeats[id]; b != nil && !b.lapsed.IsZero() {
		return now.Sub(b.lapsed)
	}
	return 0
}

// silences returns what a decision needs of it.
func (m *memory) silences(now time.Time) map[string]plan.Silence {
	all := make(map[string]plan.Silence, len(m.heartbeats))
	for id, b := range m.heartbeats {
		s := plan.Silence{
			Broken: b.lapsed.IsZero(), For: now.Sub(b.restarted), Seen: b.seen, Cured: b.unmarked,
			Witness: m.witness[b.zone].After(b.lapsed), Zone: b.zone,
			Heard: !b.heard.IsZero() && b.heard.Equal(b.launched),
		}
		if !b.started.IsZero() {
			s.Started = now.Sub(b.started)
		}
		if !b.marked.IsZero() {
			s.Noticed = now.Sub(b.marked)
		}
		all[id] = s
	}
	return all
}
