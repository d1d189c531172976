package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Leadership is a janitor's leadership. Its writes are fenced: etcd refuses them once somebody else was elected, or the
// registry changed.
type Leadership struct {
	store   *Store
	name    string
	key     string // in the election
	created int64  // revision at which the key appeared: what the fence compares
	session *concurrency.Session
	end     context.CancelFunc // ends the session's context
	feed    *feed
}

// Campaign waits until it is elected, which is until every earlier candidate resigned or was not heard of for its timeout,
// and becomes leader under name. It refuses a registry that asks janitors for a newer version than this.
//
// Errors: [lease.NotFoundError], [lease.SchemaError] or [lease.MalformedError] for the registry; those of etcd, when it
// cannot be reached: campaign again later.
func (s *Store) Campaign(ctx context.Context, name string, timeout time.Duration) (*Leadership, error) {
	registry, err := s.Registry(ctx)
	if err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	if err := s.understood(registry); err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	for {
		leadership, err := s.candidate(ctx, name, timeout)
		if err != nil {
			return nil, fmt.Errorf("campaign: %w", err)
		}
		elected, err := leadership.elected(ctx)
		if elected && err == nil {
			return leadership, nil
		}
		err = errors.Join(err, ctx.Err())
		leadership.abandon(ctx)
		if err != nil {
			return nil, fmt.Errorf("campaign: %w", err)
		}
		s.log.InfoContext(ctx, "the election gave no key; campaigning again", "janitor", name)
	}
}

// candidate opens a session that outlives ctx: it ends by [Leadership.Resign], by abandon, or when etcd lets it expire.
func (s *Store) candidate(ctx context.Context, name string, timeout time.Duration) (*Leadership, error) {
	etcdLease, err := s.grant(ctx, timeout)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	client := clientv3.NewCtxClient(life) // concurrency takes no interface
	feed := &feed{Lease: s.client, heartbeatTimeout: timeout, timeout: s.options.CallTimeout}
	client.KV, client.Lease, client.Watcher = boundedKV{s.client, s}, feed, s.client
	session, err := concurrency.NewSession(client, concurrency.WithLease(etcdLease), concurrency.WithContext(life))
	if err != nil {
		end()
		s.drop(ctx, etcdLease)
		return nil, err
	}
	return &Leadership{store: s, name: name, session: session, end: end, feed: feed}, nil
}

// boundedKV gives each call of the election its deadline: the candidate's ctx has none, and an answer that never comes
// would leave the registry without a leader for as long as the candidate lives.
type boundedKV struct {
	clientv3.KV
	store *Store
}

// Get is the client's, bounded.
func (b boundedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := b.store.bounded(ctx)
	defer cancel()
	return b.KV.Get(ctx, key, opts...)
}

// Txn is the client's, bounded from here on.
func (b boundedKV) Txn(ctx context.Context) clientv3.Txn {
	ctx, cancel := b.store.bounded(ctx)
	return boundedTxn{b.KV.Txn(ctx), cancel}
}

type boundedTxn struct {
	clientv3.Txn
	done context.CancelFunc
}

func (t boundedTxn) If(cmps ...clientv3.Cmp) clientv3.Txn {
	return boundedTxn{t.Txn.If(cmps...), t.done}
}

func (t boundedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	return boundedTxn{t.Txn.Then(ops...), t.done}
}

func (t boundedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	return boundedTxn{t.Txn.Else(ops...), t.done}
}

func (t boundedTxn) Commit() (*clientv3.TxnResponse, error) { defer t.done(); return t.Txn.Commit() }

// elected waits for the election and then reads the key: etcd's Campaign also returns without an error when its
// own key expired while it waited. False without an error means that it has to campaign again.
func (o *Leadership) elected(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.session.Ctx(), cancel)()
	election := concurrency.NewElection(o.session, o.store.root+dirElection)
	// When ctx ends, etcd's Campaign resigns under the session's context, for which it would wait as long as it lives.
	patience := context.AfterFunc(ctx, func() { time.AfterFunc(o.store.options.CallTimeout, o.end) })
	err := election.Campaign(ctx, o.name)
	inTime := patience()
	if o.session.Ctx().Err() != nil || errors.Is(err, rpctypes.ErrCompacted) { // compacted: it lost sight of its predecessor
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !inTime {
		return false, ctx.Err()
	}
	o.key, o.created = election.Key(), election.Rev()
	return o.holds(ctx)
}

// holds reports whether the election has the key with which this leadership was won.
func (o *Leadership) holds(ctx context.Context) (bool, error) {
	ctx, cancel := o.store.bounded(ctx)
	defer cancel()
	resp, err := o.store.client.Get(ctx, o.key)
	if err != nil {
		return false, fmt.Errorf("look for the key of the election: %w", err)
	}
	return len(resp.Kvs) == 1 && resp.Kvs[0].GetCreateRevision() == o.created, nil
}

// abandon ends a candidacy that failed.
func (o *Leadership) abandon(ctx context.Context) {
	o.end()
	<-o.session.Done()
	o.store.drop(ctx, o.session.Lease())
}

// Name under which the leadership was taken.
func (o *Leadership) Name() string { return o.name }

// Elected is the revision of etcd at which the leadership was won: later reads are of no older one, unless etcd was set back.
func (o *Leadership) Elected() int64 { return o.created }

// While lets the leadership expire, within its timeout, unless works returns nil: works is called before each renewal, and
// must not wait for anything.
func (o *Leadership) While(works func() error) { o.feed.while(works) }

// Steady is since when etcd has never left the leadership unconfirmed for more than a fifth of its timeout and a second. It is
// now for as long as it does.
func (o *Leadership) Steady() time.Time { return o.feed.since() }

// Lost closes when the leadership can no longer be relied on: when etcd has not confirmed it for the campaign's ttl,
// when etcd says that it has expired, or after [Leadership.Resign]. Nothing wrong is written after that, nor in the
// moment before it: the fence prevents it.
func (o *Leadership) Lost() <-chan struct{} { return o.session.Done() }

// Resign gives the leadership up, so that the next candidate need not wait for the timeout. If etcd does not hear of it, the
// leadership still expires after the timeout.
func (o *Leadership) Resign(ctx context.Context) error {
	o.end()
	<-o.session.Done()
	ctx, cancel := o.store.bounded(ctx)
	defer cancel()
	if _, err := o.store.client.Revoke(ctx, o.session.Lease()); err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	return nil
}
