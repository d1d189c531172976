package janitor

import (
	"time"

	"lapse/lease"
)

// memory is what one leader has seen of heartbeats since it took office, by its own monotonic clock. It is never stored:
// whoever leads next has to see for itself.
type memory struct {
	office  time.Time
	term    uint64 // raft term of the last snapshot
	beats   map[string]*beat
	witness map[string]time.Time // by zone: a lease there is known to have renewed after this
	running map[string]bool      // instances last seen running
}

// beat is what was seen of one lease's heartbeat.
type beat struct {
	restarted time.Time // the silence counts from here
	lapsed    time.Time // the key was first seen absent; zero while it is present
	seen      bool      // present at least once since the instance started
	started   time.Time // the instance was seen to go to running; zero if not
	cured     time.Time // CuredAt of the lease, as last seen
	zone      string
}

// newMemory begins with taking office.
func newMemory(now time.Time) *memory {
	return &memory{
		office: now, beats: map[string]*beat{}, witness: map[string]time.Time{}, running: map[string]bool{},
	}
}

// restart lets every silence count anew: etcd was not to be trusted until now. Its stall, election or restart deletes
// heartbeats of the living, and extends those of the dead.
func (m *memory) restart(now time.Time) {
	clear(m.witness)
	for _, b := range m.beats {
		b.restarted = now
		if !b.lapsed.IsZero() {
			b.lapsed = now
		}
	}
}

// observe takes in a snapshot and what EC2 says of the instances. now carries a monotonic reading. Of a snapshot that
// was not just read but kept up by a watch, presence proves nothing: the watch may be late.
func (m *memory) observe(now time.Time, fresh bool, snapshot lease.Snapshot, places []PlaceView) {
	if m.term != 0 && m.term != snapshot.Term {
		m.restart(now)
	}
	m.term = snapshot.Term
	running, zones := map[string]bool{}, map[string]string{}
	for _, p := range places {
		for _, i := range p.Instances {
			running[i.ID], zones[i.ID] = i.State == lease.InstanceRunning, i.ZoneKey()
		}
	}
	kept := make(map[string]*beat, len(m.beats))
	for i := range snapshot.Leases {
		l := &snapshot.Leases[i]
		if l.State != lease.StateActive || l.TTL == 0 {
			continue
		}
		b := m.beats[l.InstanceID]
		if b == nil {
			b = &beat{restarted: now, cured: l.CuredAt}
		}
		kept[l.InstanceID] = b
		b.zone = zones[l.InstanceID]
		m.observeState(now, l.InstanceID, b, running)
		if !l.CuredAt.Equal(b.cured) {
			b.cured, b.restarted = l.CuredAt, now
		}
		hb, there := snapshot.Heartbeats[l.InstanceID]
		m.observeKey(now, fresh, b, hb, there && hb.Held)
	}
	m.beats, m.running = kept, running
}

// observeState notes a stop or a start of the instance: each lets the silence count anew.
func (m *memory) observeState(now time.Time, id string, b *beat, running map[string]bool) {
	is, known := running[id]
	if !is {
		b.restarted, b.seen, b.started = now, false, time.Time{}
		return
	}
	if was, before := m.running[id]; known && before && !was {
		b.started = now
	}
}

// observeKey notes whether the heartbeat key is there.
func (m *memory) observeKey(now time.Time, fresh bool, b *beat, hb lease.Heartbeat, present bool) {
	if !present {
		if b.lapsed.IsZero() {
			b.restarted, b.lapsed = now, now
		}
		return
	}
	b.seen, b.lapsed = true, time.Time{}
	if !fresh {
		return
	}
	// A key that is still here must have been renewed within its TTL. A second or two are etcd's own slack.
	const slack = 2 * time.Second
	if renewed := now.Add(-time.Duration(hb.TTL) - slack); renewed.After(m.witness[b.zone]) {
		m.witness[b.zone] = renewed
	}
}

// held lets the silences of held leases count anew: a lifted brake restarts the grace.
func (m *memory) held(now time.Time, verdicts []Verdict) {
	for _, v := range verdicts {
		if b := m.beats[v.InstanceID]; b != nil && v.Action == ActHold && v.Brake != brakeRate {
			b.restarted = now
		}
	}
}

// silences returns what a decision needs of it.
func (m *memory) silences(now time.Time) map[string]Silence {
	all := make(map[string]Silence, len(m.beats))
	for id, b := range m.beats {
		s := Silence{
			Broken: b.lapsed.IsZero(), For: now.Sub(b.restarted), Seen: b.seen,
			Witness: m.witness[b.zone].After(b.lapsed),
		}
		if !b.started.IsZero() {
			s.Started = now.Sub(b.started)
		}
		all[id] = s
	}
	return all
}
