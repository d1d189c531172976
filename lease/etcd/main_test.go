package etcd_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	defer os.RemoveAll(dir)
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

func newBench(t testing.TB, o etcd.Options) *bench {
	t.Helper()
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	namespace := fmt.Sprintf("test-%d", namespaces.Add(1))
	return &bench{Store: etcd.New(client, namespace, o), client: client, namespace: namespace}
}

func (b *bench) key(kind, id string) string {
	dir := map[string]string{"lease": "leases/", "launch": "launches/", "heartbeat": "heartbeats/"}[kind]
	if dir == "" {
		return "/lapse/" + b.namespace + "/" + kind
	}
	return "/lapse/" + b.namespace + "/" + dir + id
}

// put writes past the store.
func (b *bench) put(t testing.TB, key, value string, o ...clientv3.OpOption) {
	t.Helper()
	if _, err := b.client.Put(t.Context(), key, value, o...); err != nil {
		t.Fatal(err)
	}
}

// get reads past the store.
func (b *bench) get(t testing.TB, key string) *clientv3.GetResponse {
	t.Helper()
	resp, err := b.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// revokeOf revokes the etcd lease that holds the first key of the prefix.
func (b *bench) revokeOf(t testing.TB, prefix string) {
	t.Helper()
	resp, err := b.client.Get(t.Context(), prefix, clientv3.WithFirstCreate()...)
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("nothing under %s: %v", prefix, err)
	}
	if _, err := b.client.Revoke(t.Context(), clientv3.LeaseID(resp.Kvs[0].GetLease())); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) depose(t testing.TB) {
	t.Helper()
	b.revokeOf(t, "/lapse/"+b.namespace+"/election/janitor/")
}

func (b *bench) registry(t testing.TB) lease.Registry {
	t.Helper()
	registry, err := b.PutRegistry(t.Context(), lease.NewRegistry(start, "uuid", lease.ModeArmed))
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func (b *bench) office(t testing.TB, name string) *etcd.Office {
	t.Helper()
	office, err := b.Campaign(t.Context(), name, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return office
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func activeLease(id string) lease.Lease {
	return lease.Lease{
		Schema: lease.Schema, InstanceID: id, State: lease.StateActive, Holder: "ada", GrantedAt: start, ExpiresAt: start.Add(time.Hour),
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
		b := newBench(t, etcd.Options{PageSize: 3})
		return leasetest.Stores{
			Store: b.Store,
			Campaign: func(ctx context.Context, name string, ttl time.Duration) (leasetest.Leader, error) {
				return b.Campaign(ctx, name, ttl)
			},
			Depose: func(t *testing.T) { b.depose(t) },
			Put:    func(t *testing.T, kind, id string, data []byte) { b.put(t, b.key(kind, id), string(data)) },
			Get: func(t *testing.T, kind, id string) []byte {
				if resp := b.get(t, b.key(kind, id)); len(resp.Kvs) > 0 {
					return resp.Kvs[0].GetValue()
				}
				return nil
			},
			Lapse: func(t *testing.T, id string) { b.revokeOf(t, b.key("heartbeat", id)) },
			Compact: func(t *testing.T) {
				t.Helper()
				resp := b.get(t, b.key("registry", ""))
				_, err := b.client.Compact(t.Context(), resp.Header.Revision)
				if err != nil && !strings.Contains(err.Error(), "compacted") { // further, by another test
					t.Fatal(err)
				}
			},
		}
	})
}
