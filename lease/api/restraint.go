package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"lapse/lease"
)

// What one instance may have written, so that it fills neither etcd nor the audit log, whatever it asks for.
const (
	writesPerMinute = 6
	writesAtOnce    = 20
	writesPause     = time.Minute / writesPerMinute
)

// remembered is of how many instances a replica remembers what it knows of them alone; then it begins anew.
const remembered = 100_000

// memory is what a replica knows of instances between two requests. Nothing depends on it but how hard a hostile one can push.
type memory struct {
	mu  sync.Mutex
	now func() time.Time
	of  map[string]*known
}

type known struct {
	changes *rate.Limiter // of its lease, and of what its heartbeat says
	claims  *rate.Limiter // apart from those: whoever moves dates without end must not keep it from being seen alive
	served  int64         // the highest change counter of its lease that it was told
}

func newMemory(now func() time.Time) *memory { return &memory{now: now, of: map[string]*known{}} }

func (m *memory) known(id string) *known {
	if k := m.of[id]; k != nil {
		return k
	}
	if len(m.of) >= remembered {
		clear(m.of)
	}
	k := &known{changes: rate.NewLimiter(rate.Every(writesPause), writesAtOnce), claims: rate.NewLimiter(rate.Every(writesPause), writesAtOnce)}
	m.of[id] = k
	return k
}

// change lets an instance change its lease or what its heartbeat says, or says that it does so too often.
//
// Errors: [lease.TooOftenError].
func (m *memory) change(id string) error {
	return m.spend(id, func(k *known) *rate.Limiter { return k.changes })
}

// claim lets an instance claim its heartbeat, or says that it does so too often.
//
// Errors: [lease.TooOftenError].
func (m *memory) claim(id string) error {
	return m.spend(id, func(k *known) *rate.Limiter { return k.claims })
}

func (m *memory) spend(id string, of func(*known) *rate.Limiter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !of(m.known(id)).AllowN(m.now(), 1) {
		return &lease.TooOftenError{ID: id, After: lease.Duration(writesPause)}
	}
	return nil
}

// believed is how much of a change counter is believed that an instance says it has seen: no more than it was told, by this
// replica or, as its heartbeat has it, by another.
func (m *memory) believed(id string, said, before int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return min(said, max(m.known(id).served, before))
}

// serve notes what an instance is told.
func (m *memory) serve(l lease.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known(l.InstanceID)
	k.served = min(max(k.served, l.Changes), lease.MaxHeartbeatChanges)
}
