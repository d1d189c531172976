package etcdsim_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
	"lapse/lease/leasetest"
)

const root = "/lapse/test/"

// open is a store on a cluster of its own.
func open(t *testing.T) leasetest.Stores {
	t.Helper()
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	client := cluster.Client("t", nil)
	store := etcd.New(client, "test", etcd.Options{PageSize: 3})
	key := func(kind, id string) string {
		dir := map[string]string{"lease": "leases/", "launch": "launches/", "heartbeat": "heartbeats/"}[kind]
		if dir == "" {
			return root + kind
		}
		return root + dir + id
	}
	return leasetest.Stores{
		Store: store,
		Campaign: func(ctx context.Context, name string, timeout time.Duration) (leasetest.Leader, error) {
			return store.Campaign(ctx, name, timeout)
		},
		Depose: func(tb testing.TB) {
			tb.Helper()
			resp, err := client.Get(tb.Context(), root+"election/janitor/", clientv3.WithFirstCreate()...)
			if err != nil || len(resp.Kvs) == 0 {
				tb.Fatalf("nobody leads: %v", err)
			}
			if _, err := client.Revoke(tb.Context(), clientv3.LeaseID(resp.Kvs[0].GetLease())); err != nil {
				tb.Fatal(err)
			}
		},
		Put: func(tb testing.TB, kind, id string, data []byte) {
			tb.Helper()
			if _, err := client.Put(tb.Context(), key(kind, id), string(data)); err != nil {
				tb.Fatal(err)
			}
		},
		Get: func(tb testing.TB, kind, id string) []byte {
			tb.Helper()
			for _, kv := range cluster.Dump(key(kind, id)) {
				return kv.Value
			}
			return nil
		},
		Lapse:   func(_ testing.TB, id string) { cluster.ExpireAll(key("heartbeat", id)) },
		Compact: func(testing.TB) { cluster.Compact() },
	}
}

func TestStorePassesTheSuite(t *testing.T) { leasetest.Run(t, open) }

func TestStorePassesTheSuiteInBubbles(t *testing.T) { leasetest.RunIn(t, open, synctest.Test) }
