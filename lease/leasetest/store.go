// Package leasetest has a store of leases and an EC2 in memory, for tests of those who use them, and the suite that every
// store passes.
//
//   - store.go, record.go, bind.go, snapshot.go, watch.go, heartbeat.go, leadership.go: [Store], the fake.
//   - cloud.go: [Cloud], EC2 in one location; launched.go: [Launched], instances under leases in both.
//   - suite.go: [Run] and the interfaces it tests; suite_*.go: its cases, which say what a store promises.
package leasetest

import (
	"context"
	"encoding/json"
	"sync"

	"lapse/lease"
)

// Namespace is what the fake calls itself in errors.
const Namespace = "fake"

// Store is a registry in memory, with the methods of etcd's store. It keeps records as JSON, as etcd does, and counts
// revisions as etcd does. Heartbeats expire by the time package's timers, so in a testing/synctest bubble by its clock.
// It is safe for concurrent use.
type Store struct {
	// Fault, if set, is called at the start of every method with the method's name. Its error is returned instead, as
	// if etcd had not been reached. Set it before the store is used.
	Fault func(method string) error

	mu        sync.Mutex
	revision  int64
	compacted int64 // events up to this revision are forgotten
	entries   map[key]entry
	events    []event
	news      chan struct{} // closed at the next write
	grants    map[int64]*grant
	handles   int64
	leader    *Leadership
}

// key of a record: its kind, as errors name it, and its id.
type key struct{ kind, id string }

// entry is a stored record.
type entry struct {
	data              []byte
	created, modified int64
	handle            int64 // of the grant that keeps it; 0 for none
}

// event is a write, or a deletion if deleted is set.
type event struct {
	key     key
	entry   entry
	deleted bool
}

// NewStore returns an empty store, without a registry.
func NewStore() *Store {
	return &Store{revision: 1, entries: map[key]entry{}, news: make(chan struct{}), grants: map[int64]*grant{}}
}

// begin is the start of every method.
func (s *Store) begin(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Fault != nil {
		return s.Fault(method)
	}
	return nil
}

// set writes an entry at the next revision. s.mu is held.
func (s *Store) set(k key, data []byte, handle int64) int64 {
	s.revision++
	e := entry{data: data, created: s.revision, modified: s.revision, handle: handle}
	if old, found := s.entries[k]; found {
		e.created = old.created
	}
	s.entries[k] = e
	s.tell(event{key: k, entry: e})
	return s.revision
}

// unset deletes an entry at the next revision. s.mu is held.
func (s *Store) unset(k key) {
	if _, found := s.entries[k]; !found {
		return
	}
	s.revision++
	delete(s.entries, k)
	s.tell(event{key: k, entry: entry{modified: s.revision}, deleted: true})
}

func (s *Store) tell(e event) {
	s.events = append(s.events, e)
	close(s.news)
	s.news = make(chan struct{})
}

// Put writes bytes past every check, as a foreign hand would. kind is registry, sweep, plan, lease, launch or
// heartbeat; the id of the first three is empty. A heartbeat put so is a ghost: nothing keeps it.
func (s *Store) Put(kind, id string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key{kind, id}, data, 0)
}

// Get returns the stored bytes, or nil.
func (s *Store) Get(kind, id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key{kind, id}].data
}

// Healthy returns an error only by Fault.
func (s *Store) Healthy(ctx context.Context) error { return s.begin(ctx, "Healthy") }

// decode reads a record. One whose content names another record than its key is malformed.
func decode[R any](k key, e entry, read reader[R]) (R, error) {
	id := k.id
	if id == "" {
		id = Namespace
	}
	r, err := read.decode(k.kind, id, e.data)
	if err != nil {
		return r, err
	}
	if own := read.id(r); own != k.id {
		return r, &lease.MalformedError{Kind: k.kind, ID: id, Err: &lease.NotFoundError{Kind: k.kind, ID: own}}
	}
	*read.revision(&r) = e.modified
	return r, nil
}

// reader is how one kind of record is read and written.
type reader[R any] struct {
	kind     string
	decode   func(kind, id string, data []byte) (R, error)
	revision func(*R) *int64
	id       func(R) string
}

func registries() reader[lease.Registry] {
	return reader[lease.Registry]{
		"registry", lease.Decode[lease.Registry],
		func(r *lease.Registry) *int64 { return &r.Revision },
		func(lease.Registry) string { return "" },
	}
}

func sweeps() reader[lease.Checkpoint] {
	return reader[lease.Checkpoint]{
		"checkpoint", lease.Decode[lease.Checkpoint],
		func(sw *lease.Checkpoint) *int64 { return &sw.Revision },
		func(lease.Checkpoint) string { return "" },
	}
}

func plans() reader[lease.Plan] {
	return reader[lease.Plan]{
		"plan", lease.Decode[lease.Plan],
		func(p *lease.Plan) *int64 { return &p.Revision },
		func(lease.Plan) string { return "" },
	}
}

func leases() reader[lease.Lease] {
	return reader[lease.Lease]{
		"lease", lease.Decode[lease.Lease],
		func(l *lease.Lease) *int64 { return &l.Revision },
		func(l lease.Lease) string { return l.InstanceID },
	}
}

func launches() reader[lease.Launch] {
	return reader[lease.Launch]{
		"launch", lease.Decode[lease.Launch],
		func(l *lease.Launch) *int64 { return &l.Revision },
		func(l lease.Launch) string { return l.Token },
	}
}

// encode is the stored form of a record.
func encode[R any](r R, read reader[R]) ([]byte, error) {
	*read.revision(&r) = 0
	return json.Marshal(r)
}
