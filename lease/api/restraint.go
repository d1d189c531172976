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

// How often one instance may ask for its peers, which has up to two records read for each of them.
const (
	asksPause  = 2 * time.Second
	asksAtOnce = 20
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
	asks    *rate.Limiter // for its peers
	proofs  *rate.Limiter // that it shows to be let in: each asks EC2, and may be written and audited
	tries   *rate.Limiter // apart from those: whoever has its document, which is no secret, must not keep it from being let in
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
	k := &known{
		changes: rate.NewLimiter(rate.Every(writesPause), writesAtOnce), claims: rate.NewLimiter(rate.Every(writesPause), writesAtOnce),
		asks: rate.NewLimiter(rate.Every(asksPause), asksAtOnce), proofs: rate.NewLimiter(rate.Every(unknownPause), writesAtOnce),
		tries: rate.NewLimiter(rate.Every(unknownPause), writesAtOnce),
	}
	m.of[id] = k
	return k
}

// change lets an instance change its lease or what its heartbeat says, or says that it does so too often.
//
// Errors: [lease.TooOftenError].
func (m *memory) change(id string) error {
	return m.spend(lease.TooOftenError{ID: id, After: lease.Duration(writesPause)}, func(k *known) *rate.Limiter { return k.changes })
}

// claim lets an instance claim its heartbeat, or says that it does so too often.
//
// Errors: [lease.TooOftenError].
func (m *memory) claim(id string) error {
	return m.spend(lease.TooOftenError{ID: id, After: lease.Duration(writesPause)}, func(k *known) *rate.Limiter { return k.claims })
}

// ask lets an instance ask for its peers, or says that it does so too often.
//
// Errors: [lease.TooOftenError].
func (m *memory) ask(id string) error {
	refusal := lease.TooOftenError{ID: id, Does: "asks for its peers", After: lease.Duration(asksPause)}
	return m.spend(refusal, func(k *known) *rate.Limiter { return k.asks })
}

// prove lets somebody show to be an instance, or says that this is done too often. more says that it shows more than a document.
//
// Errors: [lease.TooOftenError].
func (m *memory) prove(id string, more bool) error {
	refusal := lease.TooOftenError{ID: id, Does: "enrols", After: lease.Duration(unknownPause)}
	return m.spend(refusal, func(k *known) *rate.Limiter {
		if more {
			return k.proofs
		}
		return k.tries
	})
}

// spend takes one from what the instance of a refusal has left, or refuses.
func (m *memory) spend(refusal lease.TooOftenError, of func(*known) *rate.Limiter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !of(m.known(refusal.ID)).AllowN(m.now(), 1) {
		return &refusal
	}
	return nil
}

// believed is how much of a change counter is believed that an instance says it has seen: no more than it was told, by this
// replica or, as its heartbeat has it, by another. What is believed once is remembered: the heartbeat may go, and its lease may be
// gone already, so that nobody tells it again.
func (m *memory) believed(id string, said, before int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known(id)
	k.served = max(k.served, min(said, before))
	return min(said, k.served)
}

// serve notes what an instance is told.
func (m *memory) serve(l lease.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known(l.InstanceID)
	k.served = min(max(k.served, l.Changes), lease.MaxHeartbeatChanges)
}
