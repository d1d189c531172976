// Package etcd keeps leases in etcd. It is the only place that knows the keys, under /lapse/<namespace>/:
//
//	registry, checkpoint, plan, launches/<token>, leases/<id>, heartbeats/<id>, election/janitor/<etcd lease>
//
// Every write compares the revision that its writer read, so that of two writers exactly one wins and the other is told.
// Every call is bounded, because the client would otherwise wait forever for a server that does not answer. etcd's own leases
// are called etcd leases here, to tell them from ours.
//
// Read it in this order:
//
//   - dial.go: [Dial], a client for servers new enough to be trusted; certificates.go: its TLS, from files that change while
//     it runs; outage.go: why etcd does not answer.
//   - store.go, record.go: [Store]; one record read, written, changed.
//   - write.go: the one conditional write, and its guards.
//   - bind.go: leases for the instances of a launch.
//   - snapshot.go, decode.go, watch.go: everything at one revision, and what changed since; rest.go: how often it is listed.
//   - heartbeat.go, renew.go: who renews the heartbeat of an instance; peers.go: who renews those of a launch.
//   - leadership.go, fence.go: a janitor's leadership, and the writes that only the leader can make.
//   - roles.go, grant.go: what operators, janitors and sidecars need where etcd asks for users, and what they are granted.
//   - errors.go, health.go, probe.go: what may be wrong, whether etcd can be relied on, and each of its servers.
package etcd

import (
	"context"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// Client is what the store asks of etcd. A *clientv3.Client is one, and so is a model in memory.
type Client interface {
	clientv3.KV
	clientv3.Lease
	clientv3.Watcher
}

// Options of a store. Zero values mean the defaults.
type Options struct {
	Logger      *slog.Logger  // default: discards
	CallTimeout time.Duration // bound of one call; default 5 s
	ListTimeout time.Duration // bound of one whole listing; default 30 s
	PageSize    int64         // keys in one page of a listing; default 5,000
}

// Defaults of [Options].
const (
	callTimeout = 5 * time.Second
	listTimeout = 30 * time.Second
	pageSize    = 5000
)

// Store is one registry in etcd. It is safe for concurrent use.
type Store struct {
	client    Client
	namespace string
	root      string // prefix of all keys, with a slash at the end
	options   Options
	log       *slog.Logger

	registry table[lease.Registry]
	sweep    table[lease.Checkpoint]
	plan     table[lease.Plan]
	leases   table[lease.Lease]
	launches table[lease.Launch]
	enrolled table[lease.Enrolment]
}

// New returns the store of a namespace. It sends nothing.
func New(c Client, namespace string, o Options) *Store {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = callTimeout
	}
	if o.ListTimeout == 0 {
		o.ListTimeout = listTimeout
	}
	if o.PageSize == 0 {
		o.PageSize = pageSize
	}
	s := &Store{client: c, namespace: namespace, root: "/lapse/" + namespace + "/", options: o, log: o.Logger}
	s.registry = table[lease.Registry]{
		store: s, kind: "registry", decode: lease.Decode[lease.Registry],
		revision: func(r *lease.Registry) *int64 { return &r.Revision },
		name:     func(lease.Registry) string { return namespace },
	}
	s.sweep = table[lease.Checkpoint]{
		store: s, kind: "checkpoint", decode: lease.Decode[lease.Checkpoint],
		revision: func(r *lease.Checkpoint) *int64 { return &r.Revision },
		name:     func(lease.Checkpoint) string { return namespace },
	}
	s.plan = table[lease.Plan]{
		store: s, kind: "plan", decode: lease.Decode[lease.Plan],
		revision: func(p *lease.Plan) *int64 { return &p.Revision },
		name:     func(lease.Plan) string { return namespace },
	}
	s.leases = table[lease.Lease]{
		store: s, kind: "lease", decode: lease.Decode[lease.Lease],
		revision: func(l *lease.Lease) *int64 { return &l.Revision },
		name:     func(l lease.Lease) string { return l.InstanceID },
	}
	s.launches = table[lease.Launch]{
		store: s, kind: "launch", decode: lease.Decode[lease.Launch],
		revision: func(l *lease.Launch) *int64 { return &l.Revision },
		name:     func(l lease.Launch) string { return l.Token },
	}
	s.enrolled = table[lease.Enrolment]{
		store: s, kind: "enrolment", decode: lease.Decode[lease.Enrolment],
		revision: func(e *lease.Enrolment) *int64 { return &e.Revision },
		name:     func(e lease.Enrolment) string { return e.InstanceID },
	}
	return s
}

// Directories under a namespace.
const (
	dirLeases     = "leases/"
	dirLaunches   = "launches/"
	dirHeartbeats = "heartbeats/"
	dirEnrolments = "enrolments/"
	dirElection   = "election/janitor"
)

// Key is that of a record. There is one registry, one checkpoint and one plan, whatever the name.
func (s *Store) Key(kind, name string) string {
	switch kind {
	case "lease":
		return s.root + dirLeases + name
	case "launch":
		return s.root + dirLaunches + name
	case "heartbeat":
		return s.root + dirHeartbeats + name
	case "enrolment":
		return s.root + dirEnrolments + name
	}
	return s.root + kind
}

// Election is what the keys of those who lead, or want to, begin with.
func (s *Store) Election() string { return s.root + dirElection + "/" }

// bounded gives one call its deadline.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.options.CallTimeout)
}
