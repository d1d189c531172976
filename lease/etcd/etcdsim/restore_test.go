package etcdsim_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd/etcdsim"
)

// restorable is an etcd whose state can be saved, and restored while clients go on.
type restorable struct {
	etcd interface {
		clientv3.KV
		clientv3.Watcher
	}
	save, restore func()
}

// An operator puts an older state back while a watch is open: the watch is told nothing until the revision has passed
// what it had seen. See also https://github.com/etcd-io/etcd/issues/14303.
func TestAnOpenWatchMissesARestoreAsOnARealEtcd(t *testing.T) {
	t.Parallel()
	var answers []string
	for _, r := range []restorable{realRestorable(t), simRestorable(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		put := func(key string) (told string) {
			resp, err := r.etcd.Put(ctx, key, "")
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s at %d; ", key, resp.Header.Revision)
		}
		said := put("kept")
		r.save()
		watch := r.etcd.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(1))
		said += put("lost") + put("lost too")
		said += next(watch, 3)
		r.restore()
		said += put("unseen") + put("unseen too") + put("seen")
		said += next(watch, 1)
		resp, err := r.etcd.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, fmt.Sprintf("%s%d keys at %d", said, resp.Count, resp.Header.Revision))
	}
	if answers[0] != answers[1] {
		t.Errorf("real      %s\nsimulated %s", answers[0], answers[1])
	}
	t.Log(answers[0])
}

// next is the next n events that a watch tells.
func next(watch clientv3.WatchChan, n int) (told string) {
	for n > 0 {
		resp, open := <-watch
		if !open || resp.Err() != nil {
			return fmt.Sprintf("%s ended: %v; ", told, resp.Err())
		}
		for _, e := range resp.Events {
			told += fmt.Sprintf("got %s at %d; ", e.Kv.Key, e.Kv.ModRevision)
			n--
		}
	}
	return told
}

func simRestorable(t *testing.T) restorable {
	t.Helper()
	cluster := etcdsim.New(etcdsim.Options{})
	t.Cleanup(cluster.Close)
	var image etcdsim.Image
	return restorable{cluster.Client("t", nil), func() { image = cluster.Image() }, func() { cluster.Restore(image) }}
}

// realRestorable saves and restores the directory of a real etcd, which is down during that time.
func realRestorable(t *testing.T) restorable {
	t.Helper()
	dir := shortDir(t)
	server := start(t, dir)
	data, saved := filepath.Join(dir, "data"), filepath.Join(dir, "saved")
	down := func(do func() error) {
		t.Helper()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if err := do(); err != nil {
			t.Fatal(err)
		}
		server = start(t, dir)
	}
	return restorable{
		dial(t, server),
		func() { down(func() error { return os.CopyFS(saved, os.DirFS(data)) }) },
		func() {
			down(func() error {
				if err := os.RemoveAll(data); err != nil {
					return err
				}
				return os.CopyFS(data, os.DirFS(saved))
			})
		},
	}
}
