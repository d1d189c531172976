// Package leasetest has a store of leases and an EC2 in memory, for tests of those who use them, and the suite that the
// store passes on every etcd.
//
//   - store.go, leadership.go: [Store], etcd's own store on an etcd in memory, and its [Leadership].
//   - cloud.go: [Cloud], EC2 in one location; launched.go: [Launched], instances under leases in both.
//   - suite.go: [Run]; suite_*.go: its cases, which say what a store promises.
package leasetest

import (
	"context"
	"sync"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// Store is a registry in an etcd in memory. Heartbeats expire by the time package's timers, so in a testing/synctest
// bubble by its clock. It is safe for concurrent use.
type Store struct {
	*etcd.Store
	// Fault, if set, is called with the method's name at the start of what a launcher and a leader ask; of a leader's
	// writes with "Leadership." before it. Its error is returned instead, as if etcd had not been reached. Set it before the
	// store is used.
	Fault func(method string) error

	cluster *etcdsim.Cluster
	mu      sync.Mutex
	leaders []*Leadership // in the order in which they were elected
}

// NewStore returns an empty store, without a registry.
func NewStore() *Store {
	cluster := etcdsim.New(etcdsim.Options{})
	return &Store{Store: etcd.New(cluster.Client("test", nil), "fake", etcd.Options{}), cluster: cluster}
}

// Close ends the store, and with it what a leadership and a watch run in the background. [Launched] does so at the end of
// its test.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.leaders {
		o.end()
	}
	s.cluster.Close()
}

// Put writes bytes past every check, as a foreign hand would. kind is registry, checkpoint, plan, lease, launch or
// heartbeat; the id of the first three is empty. A heartbeat put so is a ghost: nothing keeps it.
func (s *Store) Put(kind, id string, data []byte) { s.cluster.Write(s.Key(kind, id), data) }

// Get returns the stored bytes, or nil.
func (s *Store) Get(kind, id string) []byte {
	key := s.Key(kind, id)
	for _, kv := range s.cluster.Dump(key) {
		if string(kv.Key) == key {
			return kv.Value
		}
	}
	return nil
}

// Lapse makes the heartbeat of an instance expire now, and of those whose ids begin so.
func (s *Store) Lapse(id string) { s.cluster.ExpireAll(s.Key("heartbeat", id)) }

// fault is what Fault says.
func (s *Store) fault(method string) error {
	if s.Fault == nil {
		return nil
	}
	return s.Fault(method)
}

// read reads unless Fault says otherwise.
func read[R any](ctx context.Context, s *Store, method string, do func(context.Context) (R, error)) (R, error) {
	if err := s.fault(method); err != nil {
		var none R
		return none, err
	}
	return do(ctx)
}

// ask is read of what is asked about.
func ask[About, R any](ctx context.Context, s *Store, method string, do func(context.Context, About) (R, error), about About) (R, error) {
	return read(ctx, s, method, func(ctx context.Context) (R, error) { return do(ctx, about) })
}

// Registry reads the registry.
func (s *Store) Registry(ctx context.Context) (lease.Registry, error) {
	return read(ctx, s, "Registry", s.Store.Registry)
}

// Checkpoint reads the record of the last sweep.
func (s *Store) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	return read(ctx, s, "Checkpoint", s.Store.Checkpoint)
}

// Snapshot reads everything at one revision.
func (s *Store) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	return read(ctx, s, "Snapshot", s.Store.Snapshot)
}

// Lease reads the lease of an instance.
func (s *Store) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return ask(ctx, s, "Lease", s.Store.Lease, id)
}

// Launch reads a launch.
func (s *Store) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return ask(ctx, s, "Launch", s.Store.Launch, token)
}

// PutLaunch writes the launch if it is still at l's revision.
func (s *Store) PutLaunch(ctx context.Context, l lease.Launch) (lease.Launch, error) {
	return ask(ctx, s, "PutLaunch", s.Store.PutLaunch, l)
}

// Bind creates the leases of instances that launch made.
func (s *Store) Bind(ctx context.Context, launch lease.Launch, wanted []lease.Lease) ([]lease.Lease, error) {
	return read(ctx, s, "Bind", func(ctx context.Context) ([]lease.Lease, error) { return s.Store.Bind(ctx, launch, wanted) })
}

// Freeze stops etcd until wake is called: nothing is answered, and what had arrived by then is done. No election follows.
func (s *Store) Freeze() (wake func()) { return s.cluster.Freeze() }
