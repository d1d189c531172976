package etcdsim_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

func TestOneOfTwoConditionalWritesWins(t *testing.T) {
	t.Parallel()
	const writers, rounds = 8, 100
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	var all sync.WaitGroup
	for i := range writers {
		client := cluster.Client(fmt.Sprint(i), nil)
		all.Go(func() {
			for won := 0; won < rounds; {
				resp, err := client.Get(t.Context(), "counter")
				if err != nil {
					t.Error(err)
					return
				}
				count, revision := 0, int64(0)
				for _, kv := range resp.Kvs {
					count, _ = strconv.Atoi(string(kv.Value))
					revision = kv.ModRevision
				}
				written, err := client.Txn(t.Context()).
					If(clientv3.Compare(clientv3.ModRevision("counter"), "=", revision)).
					Then(clientv3.OpPut("counter", strconv.Itoa(count+1))).
					Commit()
				if err != nil {
					t.Error(err)
					return
				}
				if written.Succeeded {
					won++
				}
			}
		})
	}
	all.Wait()
	if got := string(cluster.Dump("counter")[0].Value); got != strconv.Itoa(writers*rounds) {
		t.Errorf("counted %s, want %d", got, writers*rounds)
	}
}

// An extension and a revocation of the same lease, each as slow on its way as can be: one wins, and the other is told.
func TestEitherExtensionOrRevocationWins(t *testing.T) {
	for name, c := range map[string]struct {
		extend, revoke time.Duration // on the way to etcd
		extends        bool
	}{
		"the extension is first":  {time.Second, 2 * time.Second, true},
		"the revocation is first": {2 * time.Second, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				ctx, now := w.within(time.Hour), time.Now()
				registry, l := w.prepare()
				leadership, err := etcd.New(w.slow(c.revoke), "test", etcd.Options{}).Campaign(ctx, "janitor", 10*time.Second)
				if err != nil {
					w.Fatal(err)
				}
				defer func() {
					if err := leadership.Resign(ctx); err != nil {
						w.Error(err)
					}
				}()
				var extendErr, revokeErr error
				var both sync.WaitGroup
				both.Go(func() {
					_, _, extendErr = etcd.New(w.slow(c.extend), "test", etcd.Options{}).UpdateLease(ctx, l.InstanceID,
						func(l lease.Lease) (lease.Lease, error) {
							return l.Extend(now, lease.Extension{Until: now.Add(2 * time.Hour)}, lease.By{Actor: "cli"})
						})
				})
				both.Go(func() {
					revoked, err := l.Revoke(now, lease.CauseExpired, lease.By{Actor: "janitor"})
					if err != nil {
						w.Error(err)
					}
					_, revokeErr = leadership.Revoke(ctx, registry, revoked, false)
				})
				both.Wait()
				var conflict *lease.ConflictError
				var state *lease.StateError
				if c.extends && (extendErr != nil || !errors.As(revokeErr, &conflict)) ||
					!c.extends && (revokeErr != nil || !errors.As(extendErr, &state)) {
					w.Errorf("extend: %v; revoke: %v", extendErr, revokeErr)
				}
			})
		})
	}
}

// slow is a client whose transactions take a while on their way.
func (w *world) slow(d time.Duration) *etcdsim.Client {
	return w.Cluster.Client("slow", func(op etcdsim.Op) etcdsim.Fate {
		if op.Kind == "txn" {
			return etcdsim.Fate{Before: d}
		}
		return etcdsim.Fate{}
	})
}

// prepare makes a registry with one lease.
func (w *world) prepare() (lease.Registry, lease.Lease) {
	w.Helper()
	store := etcd.New(w.Client, "test", etcd.Options{})
	registry, err := store.PutRegistry(w.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeArmed))
	if err != nil {
		w.Fatal(err)
	}
	l, err := store.PutLease(w.Context(), lease.Lease{
		Schema: lease.Schema, InstanceID: "i-1", State: lease.StateActive, GrantedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		ExpiresNumber: 1,
	})
	if err != nil {
		w.Fatal(err)
	}
	return registry, l
}
