package etcdsim_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// A conditional write of one key among 300, as a renewal or a checkpoint is.
func BenchmarkTxn(b *testing.B) {
	cluster := etcdsim.New(etcdsim.Options{})
	b.Cleanup(cluster.Close)
	client := cluster.Client("b", nil)
	for i := range 300 {
		if _, err := client.Put(b.Context(), fmt.Sprintf("/lapse/b/leases/i-%03d", i), "value"); err != nil {
			b.Fatal(err)
		}
	}
	revision := cluster.Revision()
	b.ReportAllocs()
	const key = "/lapse/b/leases/i-299"
	for b.Loop() {
		resp, err := client.Txn(b.Context()).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, "value")).
			Else(clientv3.OpGet(key)).
			Commit()
		if err != nil || !resp.Succeeded {
			b.Fatal(resp, err)
		}
		if revision = resp.Header.Revision; revision%1000 == 0 {
			cluster.Compact() // as etcd does by itself
		}
	}
}

// A snapshot of 100 keys, without decoding them and with.
func BenchmarkSnapshot(b *testing.B) {
	cluster := etcdsim.New(etcdsim.Options{})
	b.Cleanup(cluster.Close)
	client := cluster.Client("b", nil)
	store := etcd.New(client, "b", etcd.Options{})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if _, err := store.PutRegistry(b.Context(), lease.NewRegistry(now, "uuid", lease.ModeArmed)); err != nil {
		b.Fatal(err)
	}
	for i := range 99 {
		l := lease.Lease{Schema: lease.Schema, InstanceID: fmt.Sprintf("i-%03d", i), State: lease.StateActive, ExpiresAt: now, ExpiresNumber: 1}
		if _, err := store.PutLease(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("keys", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Get(b.Context(), "/lapse/b/", clientv3.WithPrefix())
			if err != nil || len(resp.Kvs) != 100 {
				b.Fatal(resp, err)
			}
		}
	})
	b.Run("records", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			snapshot, err := store.Snapshot(b.Context())
			if err != nil || len(snapshot.Leases) != 99 {
				b.Fatal(len(snapshot.Leases), err)
			}
		}
	})
}
