package etcd_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
)

// A restored registry shows by its revisions what it has lost, as janitors look for it: of what was lost, an older one
// than was seen before; or that of etcd itself is older.
func TestRevisionsRevealWhatARestoreLost(t *testing.T) {
	t.Parallel()
	for name, bump := range map[string]uint64{"as the runbook restores": 1_000_000_000, "as a copied directory": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			running := startIn(t, dir)
			client, err := etcd.Dial(ctx, etcd.Config{Endpoints: running.Endpoints()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			b := &bench{Store: etcd.New(client, "restored", etcd.Options{}), client: client, namespace: "restored"}
			b.registry(t)
			b.mustPut(t, activeLease("i-1"))

			if err := running.Close(); err != nil {
				t.Fatal(err)
			}
			data, kept := filepath.Join(dir, "data"), filepath.Join(dir, "kept")
			if err := os.CopyFS(kept, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			running = startIn(t, dir)
			from, err := b.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			watch := b.Watch(ctx, from)
			lost := b.mustPut(t, from.Leases[0])
			if seen := <-watch; seen.Lease == nil || seen.Lease.Revision != lost.Revision {
				t.Fatalf("the watch tells %+v, want the lease at %d", seen, lost.Revision)
			}

			if err := running.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			if err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
				SnapshotPath: filepath.Join(kept, "member", "snap", "db"), SkipHashCheck: true, OutputDataDir: data, Name: "lapse",
				PeerURLs: []string{"http://localhost:0"}, InitialCluster: "lapse=http://localhost:0", InitialClusterToken: "restored",
				RevisionBump: bump, MarkCompacted: bump > 0,
			}); err != nil {
				t.Fatal(err)
			}
			startIn(t, dir)
			var listed lease.Snapshot
			if bump > 0 { // the watch lists again
				seen := <-watch
				if seen.Snapshot == nil {
					t.Fatalf("the watch tells %+v, want what is there now", seen)
				}
				listed = *seen.Snapshot
			} else if listed, err = b.Snapshot(ctx); err != nil {
				t.Fatal(err)
			}
			found := listed.Leases[0].Revision
			t.Logf("the lease is of %d, and of %d was seen before; etcd is at %d", found, lost.Revision, listed.Revision)
			if bumped := found < lost.Revision && lost.Revision <= listed.Revision; bump > 0 && !bumped {
				t.Error("nothing tells that the lease was set back")
			}
			if bump == 0 && listed.Revision >= lost.Revision {
				t.Error("nothing tells that etcd was set back")
			}
		})
	}
}

func startIn(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	running, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Close() })
	return running
}
