package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/leasetest"
)

// One etcd serves all tests of the package; each test has a namespace of its own.
var (
	server     *embedded.Server
	namespaces atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "l") // short: a socket's path has at most 107 bytes
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	net.DefaultResolver = resolver()
	if server, err = embedded.Start(context.Background(), embedded.Config{Dir: dir, NoSync: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	return m.Run()
}

// bench is a store in a namespace of its own, and a client that reaches behind it.
type bench struct {
	*etcd.Store
	client    *clientv3.Client
	namespace string
}

func newBench(tb testing.TB, o etcd.Options) *bench {
	tb.Helper()
	client, err := etcd.Dial(tb.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
	})
	namespace := fmt.Sprintf("test-%d", namespaces.Add(1))
	return &bench{Store: etcd.New(client, namespace, o), client: client, namespace: namespace}
}

// put writes past the store.
func (b *bench) put(tb testing.TB, key, value string, o ...clientv3.OpOption) {
	tb.Helper()
	if _, err := b.client.Put(tb.Context(), key, value, o...); err != nil {
		tb.Fatal(err)
	}
}

// get reads past the store.
func (b *bench) get(tb testing.TB, key string) *clientv3.GetResponse {
	tb.Helper()
	resp, err := b.client.Get(tb.Context(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return resp
}

// revokeOf revokes the etcd lease that holds the first key of the prefix.
func (b *bench) revokeOf(tb testing.TB, prefix string) {
	tb.Helper()
	resp, err := b.client.Get(tb.Context(), prefix, clientv3.WithFirstCreate()...)
	if err != nil || len(resp.Kvs) == 0 {
		tb.Fatalf("nothing under %s: %v", prefix, err)
	}
	if _, err := b.client.Revoke(tb.Context(), clientv3.LeaseID(resp.Kvs[0].GetLease())); err != nil {
		tb.Fatal(err)
	}
}

func (b *bench) depose(tb testing.TB) {
	tb.Helper()
	b.revokeOf(tb, b.Election())
}

func (b *bench) registry(tb testing.TB) lease.Registry {
	tb.Helper()
	registry, err := b.PutRegistry(tb.Context(), lease.NewRegistry(start, "uuid", lease.ModeArmed))
	if err != nil {
		tb.Fatal(err)
	}
	return registry
}

func (b *bench) leadership(tb testing.TB, name string) *etcd.Leadership {
	tb.Helper()
	leadership, err := b.Campaign(tb.Context(), name, 30*time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	return leadership
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func activeLease(id string) lease.Lease {
	return lease.Lease{
		Schema: lease.Schema, InstanceID: id, State: lease.StateActive, Holder: "ada", GrantedAt: start, ExpiresAt: start.Add(time.Hour),
		ExpiresNumber: 1,
	}
}

func openLaunch(token string) lease.Launch {
	return lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Count: 1, CreatedAt: start, Request: []byte(`{}`),
		Window: lease.Duration(time.Minute), Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: 1, Max: 1}},
	}
}

func TestStorePassesTheSuite(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) leasetest.Stores {
		t.Helper()
		b := newBench(t, etcd.Options{PageSize: 3})
		return leasetest.Stores{
			Store:   b.Store,
			Depose:  b.depose,
			Put:     b.putRecord,
			Get:     b.getRecord,
			Lapse:   b.lapse,
			Compact: b.compact,
		}
	})
}

func (b *bench) putRecord(tb testing.TB, kind, id string, data []byte) {
	tb.Helper()
	b.put(tb, b.Key(kind, id), string(data))
}

func (b *bench) getRecord(tb testing.TB, kind, id string) []byte {
	tb.Helper()
	if resp := b.get(tb, b.Key(kind, id)); len(resp.Kvs) > 0 {
		return resp.Kvs[0].GetValue()
	}
	return nil
}

func (b *bench) lapse(tb testing.TB, id string) {
	tb.Helper()
	b.revokeOf(tb, b.Key("heartbeat", id))
}

func (b *bench) compact(tb testing.TB) {
	tb.Helper()
	resp := b.get(tb, b.Key("registry", ""))
	_, err := b.client.Compact(tb.Context(), resp.Header.Revision)
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) { // further, by another test
		tb.Fatal(err)
	}
}
