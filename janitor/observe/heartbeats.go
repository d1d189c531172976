package observe

import (
	"maps"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// Renewals is what one leader has seen of heartbeats since it became leader, by its own monotonic clock. It is never
// stored: whoever leads next has to see for itself. All times carry monotonic readings.
type Renewals struct {
	term    uint64                // raft term of what was observed last
	by      map[string]*heartbeat // by instance id
	joined  *plan.Joined          // that was observed last
	rows    []*heartbeat          // of the rows of joined, in their order; nil where nothing is to be seen
	round   int                   // of joining
	witness map[string]time.Time  // by zone: a lease of a sound instance there is known to have renewed after this
}

// heartbeat is what was seen of one lease's heartbeat.
type heartbeat struct {
	restarted time.Time // the time without a heartbeat counts from here
	lapsed    time.Time // the key was first seen absent, or not expected; zero while it is present
	seen      bool      // claimed since the instance started, by the clock of the instance
	seenStart time.Time // LaunchTime of the start since which it was seen
	started   time.Time // the instance was seen to go to running; zero if not
	boot      string    // of the key that was seen last
	found     time.Time // when a key of that boot was first seen
	launched  time.Time // LaunchTime as last seen: it moves at every start
	halted    bool      // EC2 said last that the instance does not run
	shown     bool      // EC2 showed the instance, so it is known when it started last
	cured     time.Time // CuredAt of the lease, as last seen
	unmarked  bool      // cured since the key expired
	mark      time.Time // Since of the present mark, by whatever clock wrote it; zero if there is none
	marked    time.Time // when this leader first saw that mark
	held      bool      // a brake held it, or it was not shown, when it was judged last
	zone      string
	instance  *lease.Instance // as it was observed last
	round     int             // in which the lease was last joined
}

// anew restarts the time without a heartbeat.
func (b *heartbeat) anew(now time.Time) {
	b.restarted = now
	if !b.lapsed.IsZero() {
		b.lapsed = now
	}
}

// forget restarts the time without a heartbeat, and discards what was seen before.
func (b *heartbeat) forget(now time.Time) {
	b.anew(now)
	b.seen, b.started = false, time.Time{}
}

// NewRenewals begins with becoming leader.
func NewRenewals() *Renewals {
	return &Renewals{by: map[string]*heartbeat{}, witness: map[string]time.Time{}}
}

// Restart restarts every heartbeat timeout, because etcd could not be trusted until now: its stall, election or restart
// deletes heartbeats of living instances and extends those of dead ones.
func (m *Renewals) Restart(now time.Time) {
	clear(m.witness)
	for _, b := range m.by {
		b.anew(now)
	}
}

// Observe takes in what was observed, and says in each row what this leader has seen of its heartbeat. read is just before the
// registry was read. It is zero for records that were kept up by a watch, in which presence proves nothing: the watch may
// be late.
func (m *Renewals) Observe(now, read time.Time, j *plan.Joined) {
	if m.term != 0 && m.term != j.Term {
		m.Restart(now)
	}
	m.term = j.Term
	again := m.follow(j)
	unread := map[string]bool{}
	for _, bad := range j.Bad {
		unread[bad.ID] = bad.Kind == plan.BadHeartbeat || unread[bad.ID]
	}
	for n := range j.Rows {
		l := &j.Rows[n]
		if l.State != lease.StateActive || l.HeartbeatTimeout <= 0 {
			if m.rows[n] != nil {
				delete(m.by, l.InstanceID)
				m.rows[n], l.Renewal = nil, plan.Renewal{}
			}
			continue
		}
		b := m.rows[n]
		if b == nil {
			b = m.of(now, l)
			m.rows[n] = b
		}
		b.round = m.round
		b.observe(now, l, unread[l.InstanceID])
		if !read.IsZero() && l.Heartbeat.Held && l.Sound() {
			m.testify(read, b.zone, l.Heartbeat)
		}
	}
	if !again {
		maps.DeleteFunc(m.by, func(_ string, b *heartbeat) bool { return b.round != m.round })
	}
	for n, b := range m.rows {
		if b != nil {
			j.Rows[n].Renewal = b.renewal(now, m.witness[b.zone])
		}
	}
}

// follow lets the rows be those of what is observed, and reports whether they were before.
func (m *Renewals) follow(j *plan.Joined) (again bool) {
	if again = m.joined == j; !again {
		m.joined, m.rows = j, make([]*heartbeat, len(j.Rows))
		m.round++
	}
	if grown := len(j.Rows) - len(m.rows); grown > 0 {
		m.rows = append(m.rows, make([]*heartbeat, grown)...)
	}
	return again
}

// of is what was seen of the heartbeat of a lease before, or a beginning.
func (m *Renewals) of(now time.Time, l *plan.Row) *heartbeat {
	b := m.by[l.InstanceID]
	if b == nil {
		b = &heartbeat{restarted: now, cured: l.CuredAt}
		m.by[l.InstanceID] = b
	}
	return b
}

// observe takes in what was observed of one lease. unread says that its heartbeat cannot be read.
func (b *heartbeat) observe(now time.Time, l *plan.Row, unread bool) {
	if b.held {
		b.restarted, b.held = now, false
	}
	if l.Instance != nil { // an instance that EC2 no longer shows is still where it was
		b.zone = l.ZoneKey()
	}
	if l.Instance == nil || l.Instance != b.instance || b.halted {
		b.observeState(now, l.Instance)
		b.instance = l.Instance
	}
	if !l.CuredAt.Equal(b.cured) {
		b.cured, b.restarted, b.unmarked = l.CuredAt, now, true
	}
	b.observeMark(now, l.Mark)
	b.observeKey(now, l.Heartbeat, l.Heartbeat.Held || unread)
}

// observeState notes a stop or a start of the instance. Each restarts the heartbeat timeout. A start that nobody saw shows
// in the LaunchTime.
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
		b.seenStart = b.launched
	}
}

// Appear notes that the watch told of a heartbeat, which may be gone again before anything is decided.
func (m *Renewals) Appear(now time.Time, hb lease.Heartbeat) {
	if b := m.by[hb.InstanceID]; b != nil && hb.Held {
		b.observeKey(now, hb, true)
	}
}

// testify makes the zone's renewals known: a key that is still there must have been renewed within its timeout. A
// timeout that no lease can have proves nothing.
func (m *Renewals) testify(read time.Time, zone string, hb lease.Heartbeat) {
	const slack = 2 * time.Second // etcd's own
	if hb.HeartbeatTimeout <= 0 || hb.HeartbeatTimeout > lease.Duration(lease.MaxHeartbeatTimeout) {
		return
	}
	if renewed := read.Add(-time.Duration(hb.HeartbeatTimeout) - slack); renewed.After(m.witness[zone]) {
		m.witness[zone] = renewed
	}
}

// Held restarts the heartbeat timeouts of leases that a brake holds back: the release of a brake restarts the grace. It counts
// from the decision that finds the brake released, because as much time may pass between two decisions as between two sweeps.
func (m *Renewals) Held(now time.Time, verdicts []plan.Verdict) {
	for _, v := range verdicts {
		if b := m.by[v.InstanceID]; b != nil && v.Action == plan.ActHold && v.Brake != plan.BrakeRate {
			b.restarted, b.held = now, true
		}
	}
}

// renewal is what a decision needs of it. witness is after which time others of the zone are known to have renewed.
func (b *heartbeat) renewal(now, witness time.Time) plan.Renewal {
	s := plan.Renewal{
		Present: b.lapsed.IsZero(), For: now.Sub(b.restarted), Seen: b.seen, Cured: b.unmarked, Witness: witness.After(b.lapsed), Zone: b.zone,
		EverSeen: !b.seenStart.IsZero() && b.seenStart.Equal(b.launched),
	}
	if !b.lapsed.IsZero() {
		s.Missing = now.Sub(b.lapsed)
	}
	if !b.started.IsZero() {
		s.Started = now.Sub(b.started)
	}
	if !b.marked.IsZero() {
		s.Marked = now.Sub(b.marked)
	}
	return s
}
