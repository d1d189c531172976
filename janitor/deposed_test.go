package janitor

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"

	"lapse/janitor/plan"
)

// TestRunCampaignsAgainWhenItsElectionKeyIsLost deletes the election's key under a leader whose session lives on, as somebody
// does to force an election. On real etcd, since that is where a session is something else than a key.
func TestRunCampaignsAgainWhenItsElectionKeyIsLost(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, NoSync: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints(), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	store := etcd.New(client, "zombie", etcd.Options{})
	if _, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid-1", lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	j, err := New(Config{
		Campaign: func(ctx context.Context) (Leadership, error) {
			leadership, err := store.Campaign(ctx, "janitor", time.Minute)
			if err != nil {
				return nil, err
			}
			return leadership, nil
		},
		Clouds: []Cloud{&recorder{}}, Policy: plan.DefaultPolicy(), Schedule: "@every 1s", Now: time.Now, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	untilLeaderships(t, store, 1)
	if _, err := client.Delete(t.Context(), "/lapse/zombie/election/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	untilLeaderships(t, store, 2)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// untilLeaderships waits until n leaders have recorded a sweep.
func untilLeaderships(t *testing.T, store *etcd.Store, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		checkpoint, err := store.Checkpoint(ctx)
		if err == nil && len(checkpoint.Leaderships) >= n {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("checkpoint %+v (%v); want %d leaderships", checkpoint, err, n)
		case <-tick.C:
		}
	}
}
