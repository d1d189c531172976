package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// faulty is a client of which single calls go wrong.
type faulty struct {
	*clientv3.Client
	afterGet func()                                                   // runs after every read
	watch    func(watch func() clientv3.WatchChan) clientv3.WatchChan // in place of a watch
	alarms   []*pb.AlarmMember
}

func (f *faulty) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := f.Client.Get(ctx, key, o...)
	if f.afterGet != nil {
		f.afterGet()
	}
	return resp, err
}

func (f *faulty) Watch(ctx context.Context, key string, o ...clientv3.OpOption) clientv3.WatchChan {
	if f.watch == nil {
		return f.Client.Watch(ctx, key, o...)
	}
	return f.watch(func() clientv3.WatchChan { return f.Client.Watch(ctx, key, o...) })
}

func (f *faulty) AlarmList(context.Context) (*clientv3.AlarmResponse, error) {
	return &clientv3.AlarmResponse{Alarms: f.alarms}, nil
}

// Not parallel: compaction is of all that the server keeps.
func TestListingStartsAgainWhenItsRevisionIsCompacted(t *testing.T) {
	b := newBench(t, etcd.Options{})
	b.registry(t)
	for i := range 4 {
		b.mustPut(t, activeLease(fmt.Sprintf("i-%d", i)))
	}
	reads := 0
	client := &faulty{Client: b.client, afterGet: func() {
		if reads++; reads != 2 {
			return
		}
		l := b.mustPut(t, activeLease("i-9"))
		if _, err := b.client.Compact(t.Context(), l.Revision); err != nil {
			t.Error(err)
		}
	}}
	snapshot, err := etcd.New(client, b.namespace, etcd.Options{PageSize: 1}).Snapshot(t.Context())
	if err != nil || len(snapshot.Leases) != 5 || snapshot.Leases[4].InstanceID != "i-9" {
		t.Errorf("%d leases, %v", len(snapshot.Leases), err)
	}
	if reads <= 6 {
		t.Errorf("%d reads: it did not start again", reads)
	}
}

func TestABrokenWatchListsAgainAndContinues(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	b.registry(t)
	from, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	missed := b.mustPut(t, activeLease("i-1"))
	broken := make(chan clientv3.WatchResponse)
	close(broken)
	watches := 0
	client := &faulty{Client: b.client, watch: func(watch func() clientv3.WatchChan) clientv3.WatchChan {
		if watches++; watches == 1 {
			return broken
		}
		return watch()
	}}
	changes := etcd.New(client, b.namespace, etcd.Options{}).Watch(t.Context(), from)
	if c := <-changes; c.Snapshot == nil || c.Snapshot.Leases[0].Revision != missed.Revision {
		t.Errorf("got %+v, want a listing", c)
	}
	next := b.mustPut(t, activeLease("i-2"))
	if c := <-changes; c.Lease == nil || c.Lease.Revision != next.Revision {
		t.Errorf("got %+v, want the lease written since", c)
	}
}

func TestAnAlarmIsNotHealthy(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	client := &faulty{Client: b.client, alarms: []*pb.AlarmMember{{Alarm: pb.AlarmType_NOSPACE}}}
	var alarm *etcd.AlarmError
	if err := etcd.New(client, b.namespace, etcd.Options{}).Healthy(t.Context()); !errors.As(err, &alarm) || alarm.Alarms[0] != "NOSPACE" {
		t.Errorf("got %v, want an AlarmError", err)
	}
}

// model is a client that has nothing but what the store asks for, as a model in memory would.
type model struct {
	clientv3.KV
	clientv3.Lease
	clientv3.Watcher
}

func (model) Close() error { return nil }

func TestStoreNeedsNoMoreThanKeysLeasesAndWatches(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry := b.registry(t)
	s := etcd.New(model{b.client, b.client, b.client}, b.namespace, etcd.Options{})
	if err := s.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	leadership, err := s.Campaign(t.Context(), "a", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leadership.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema}); err != nil {
		t.Error(err)
	}
	if err := leadership.Resign(t.Context()); err != nil {
		t.Error(err)
	}
}

// 100,000 leases are to be read and decided in 2 s on 2 cores.
func BenchmarkSnapshot(b *testing.B) {
	const n, batch = 100_000, 10_000
	s := newBench(b, etcd.Options{})
	s.registry(b)
	launch, err := s.PutLaunch(b.Context(), openLaunch("a"))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < n; i += batch {
		leases := make([]lease.Lease, batch)
		for j := range leases {
			leases[j] = activeLease(fmt.Sprintf("i-%017x", i+j))
			leases[j].Launch, leases[j].ClientToken, leases[j].Region, leases[j].Zone = "a", "a.1", "eu-west-1", "eu-west-1a"
			leases[j].Labels = map[string]string{"team": "build", "job": "1234"}
			leases[j].History = []lease.Transition{{Time: start, Actor: "launcher:ci", Action: "bind"}, {Time: start, Actor: "cli:ada", Action: "extend"}}
		}
		if _, err := s.Bind(b.Context(), launch, leases); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		snapshot, err := s.Snapshot(b.Context())
		if err != nil || len(snapshot.Leases) != n {
			b.Fatal(len(snapshot.Leases), err)
		}
	}
}
