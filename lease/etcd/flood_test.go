package etcd_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// counted counts the listings of a store: each begins at the root.
type counted struct {
	*clientv3.Client
	root     string
	listings atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if key == c.root {
		c.listings.Add(1)
	}
	return c.Client.Get(ctx, key, o...)
}

func TestARepeatedBadRecordCausesNoFlood(t *testing.T) {
	t.Parallel()
	const writes = 500
	for kind, listings := range map[string]int64{"lease": 1, "launch": 1, "checkpoint": 1, "heartbeat": 0} { // at once; more as time goes by
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, etcd.Options{})
			b.registry(t)
			client := &counted{Client: b.client, root: strings.TrimSuffix(b.Key("registry", ""), "registry")}
			store := etcd.New(client, b.namespace, etcd.Options{})
			from, err := store.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			changes := store.Watch(t.Context(), from)
			before, begun := client.listings.Load(), time.Now()
			if before != 1 {
				t.Fatalf("%d listings are counted, want one", before)
			}
			go func() {
				for range writes {
					_, _ = b.client.Put(t.Context(), b.Key(kind, "i-0bad"), "{not JSON")
				}
				_, _ = b.client.Put(t.Context(), b.Key(kind, "i-0late"), "{not JSON")
				_, _ = b.PutLaunch(t.Context(), openLaunch("last"))
			}()
			late, last := kind == "checkpoint", false // there is one checkpoint alone
			bad := map[string]int{}
			for !late || !last {
				change, open := <-changes
				if !open {
					t.Fatal("the watch ended")
				}
				last = last || change.Launch != nil && change.Launch.Token == "last"
				if change.Snapshot != nil {
					last = last || len(change.Snapshot.Launches) == 1
					for _, record := range change.Snapshot.Bad {
						late = late || record.ID == "i-0late"
					}
				}
				if change.Bad != nil {
					bad[change.Bad.ID]++
					late = late || change.Bad.ID == "i-0late"
					if change.Bad.Kind != kind || change.Bad.Revision <= from.Revision || !strings.Contains(change.Bad.Err.Error(), change.Bad.ID) {
						t.Errorf("got %+v", change.Bad)
					}
				}
			}
			if listings > 0 {
				listings += 1 + int64(time.Since(begun)/time.Second)
			}
			if n := client.listings.Load() - before; n > listings {
				t.Errorf("%d bad writes in %v made %d listings, want at most %d", writes, time.Since(begun), n, listings)
			}
			if kind == "heartbeat" && (bad["i-0bad"] != writes || bad["i-0late"] != 1) {
				t.Errorf("got %v", bad)
			}
		})
	}
}

// In a bubble, for it takes an hour.
func TestListingsPauseLongerWhileBadRecordsContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := etcdsim.New(etcdsim.Options{})
		t.Cleanup(cluster.Close)
		store := etcd.New(cluster.Client("test", nil), "n", etcd.Options{})
		if _, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeArmed)); err != nil {
			t.Fatal(err)
		}
		from, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		changes := store.Watch(t.Context(), from)
		spoil := func() {
			if _, err := cluster.Client("thief", nil).Put(t.Context(), "/lapse/n/leases/i-0bad", "{not JSON"); err != nil {
				t.Fatal(err)
			}
		}
		listed, begun := 0, time.Now()
		for ticker := time.NewTicker(100 * time.Millisecond); time.Since(begun) < time.Hour; {
			select {
			case change := <-changes:
				if change.Snapshot == nil {
					t.Fatalf("got %+v", change)
				}
				listed++
			case <-ticker.C:
				spoil()
			}
		}
		if listed < 120 || listed > 126 { // every 30 s, and some at the start
			t.Errorf("%d listings in an hour of bad writes", listed)
		}
		<-changes                   // the last of them
		time.Sleep(2 * time.Minute) // of the bubble's own time
		spoil()
		spoilt := time.Now()
		if change := <-changes; change.Snapshot == nil || time.Since(spoilt) > 0 {
			t.Errorf("after a quiet time got %+v after %v, want a listing at once", change, time.Since(spoilt))
		}
	})
}
