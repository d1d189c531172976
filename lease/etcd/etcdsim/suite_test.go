package etcdsim_test

import (
	"testing"
	"testing/synctest"

	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
	"lapse/lease/leasetest"
)

// open is a store on a cluster of its own.
func open(t *testing.T) leasetest.Stores {
	t.Helper()
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	store := etcd.New(cluster.Client("t", nil), "test", etcd.Options{PageSize: 3})
	return leasetest.Stores{
		Store:  store,
		Depose: func(testing.TB) { cluster.ExpireAll(store.Election()) },
		Put:    func(_ testing.TB, kind, id string, data []byte) { cluster.Write(store.Key(kind, id), data) },
		Get: func(tb testing.TB, kind, id string) []byte {
			tb.Helper()
			for _, kv := range cluster.Dump(store.Key(kind, id)) {
				return kv.Value
			}
			return nil
		},
		Lapse:   func(_ testing.TB, id string) { cluster.ExpireAll(store.Key("heartbeat", id)) },
		Compact: func(testing.TB) { cluster.Compact() },
	}
}

func TestStorePassesTheSuite(t *testing.T) { leasetest.Run(t, open) }

func TestStorePassesTheSuiteInBubbles(t *testing.T) { leasetest.RunIn(t, open, synctest.Test) }
