package etcdsim_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd/etcdsim"
)

// world is a cluster in a bubble, all of whose time is the test's. A goroutine that is left behind fails the test.
type world struct {
	*testing.T
	*etcdsim.Cluster
	*etcdsim.Client // on a link without faults

	mu      sync.Mutex
	fates   map[string]etcdsim.Fate // by kind, of the client that faulty makes
	asked   []etcdsim.Op
	commits []etcdsim.Commit
}

// bubble runs a test in a world.
func bubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		w := &world{T: t, fates: map[string]etcdsim.Fate{}}
		w.Cluster = etcdsim.New(etcdsim.Options{Observe: func(c etcdsim.Commit) { w.commits = append(w.commits, c) }})
		t.Cleanup(w.Cluster.Close)
		w.Client = w.Cluster.Client("plain", nil)
		test(w)
	})
}

// faulty is a client whose calls have the fates of the world.
func (w *world) faulty() *etcdsim.Client {
	return w.Cluster.Client("faulty", func(op etcdsim.Op) etcdsim.Fate {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, op)
		return w.fates[op.Kind]
	})
}

func (w *world) fate(kind string, fate etcdsim.Fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fates[kind] = fate
}

// within is a context that ends after a time.
func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), d)
	w.Cleanup(cancel)
	return ctx
}

func (w *world) put(key, value string, options ...clientv3.OpOption) int64 {
	w.Helper()
	resp, err := w.Put(w.Context(), key, value, options...)
	if err != nil {
		w.Fatal(err)
	}
	return resp.Header.Revision
}

// grant makes an etcd lease that holds a key.
func (w *world) grant(timeout int64, key string) clientv3.LeaseID {
	w.Helper()
	resp, err := w.Grant(w.Context(), timeout)
	if err != nil {
		w.Fatal(err)
	}
	w.put(key, "", clientv3.WithLease(resp.ID))
	return resp.ID
}

// wantKeys wants exactly these keys, in their order.
func (w *world) wantKeys(want ...string) {
	w.Helper()
	synctest.Wait()
	kvs := w.Dump("")
	same := len(kvs) == len(want)
	for i := range min(len(kvs), len(want)) {
		same = same && string(kvs[i].Key) == want[i]
	}
	if !same {
		w.Fatalf("keys %v, want %v", kvs, want)
	}
}

// told is what a watch tells until it has nothing more: type and key of each event, or why it ended.
func (w *world) told(watch clientv3.WatchChan) (events []string) {
	w.Helper()
	for {
		synctest.Wait()
		select {
		case resp, open := <-watch:
			if !open {
				return append(events, "closed")
			}
			if resp.Err() != nil {
				events = append(events, resp.Err().Error())
			}
			for _, e := range resp.Events {
				events = append(events, e.Type.String()+" "+string(e.Kv.Key))
			}
		default:
			return events
		}
	}
}

func (w *world) wantTold(watch clientv3.WatchChan, want ...string) {
	w.Helper()
	got := w.told(watch)
	same := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		same = same && got[i] == want[i]
	}
	if !same {
		w.Fatalf("got %q, want %q", got, want)
	}
}
