//go:build bench

package bench

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// drop takes a heartbeat away.
func (w *world) drop(c lease.Claim) {
	w.t.Helper()
	if _, err := w.client.Revoke(w.t.Context(), clientv3.LeaseID(c.Handle)); err != nil {
		w.t.Fatal(err)
	}
}

// measureHeartbeats renews as fast as one etcd can, as sidecars do, beside a janitor that leads.
func measureHeartbeats(t *testing.T, figures *table, size sizes) {
	t.Helper()
	for _, n := range size.renewed {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			f := w.newFleet(n, never)
			claims := w.claim(f.instances)
			w.janitor()
			stores := w.stores(8)
			var done atomic.Int64
			began := time.Now()
			abreast(64, 64, func(worker int) {
				for n := worker; time.Since(began) < size.renewing; n = (n + 64) % len(claims) {
					if _, _, err := stores[worker%len(stores)].Renew(t.Context(), claims[n], claims[n].Heartbeat); err != nil {
						t.Errorf("renew %s: %v", claims[n].Heartbeat.InstanceID, err)
						return
					}
					done.Add(1)
				}
			})
			rate := float64(done.Load()) / time.Since(began).Seconds()
			needed := float64(n) / (heartbeatTimeout / 4).Seconds()
			figures.atLeast(fmt.Sprintf("heartbeats of %d leases at a timeout of 5 min: headroom over %.0f renewals/s", n, needed), times, 2, rate/needed,
				"The load is made on the same two cores.")
			figures.note("  renewals/s", count(rate))
		})
	}
}

// stores are several connections to etcd, as if of several machines.
func (w *world) stores(n int) []*etcd.Store {
	w.t.Helper()
	var stores []*etcd.Store
	for range n {
		client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: []string{w.etcd()}})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = client.Close() })
		stores = append(stores, etcd.New(client, "default", etcd.Options{}))
	}
	return stores
}
