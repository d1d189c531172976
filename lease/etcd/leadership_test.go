package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
)

// candidacy starts a campaign and waits until the candidate's key is in the election. It returns that key, and where
// the campaign's outcome will be told.
func (b *bench) candidacy(ctx context.Context, t *testing.T, name string) (clientv3.LeaseID, <-chan outcome) {
	t.Helper()
	seen := b.client.Watch(t.Context(), "/lapse/"+b.namespace+"/election/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-seen
	told := make(chan outcome, 1)
	go func() {
		leadership, err := b.Campaign(ctx, name, 30*time.Second)
		told <- outcome{leadership, err}
	}()
	return b.stands(t, seen, name), told
}

type outcome struct {
	leadership *etcd.Leadership
	err        error
}

// stands waits until the candidate's key appears.
func (b *bench) stands(t *testing.T, seen clientv3.WatchChan, name string) clientv3.LeaseID {
	t.Helper()
	for resp := range seen {
		for _, event := range resp.Events {
			if event.IsCreate() && string(event.Kv.GetValue()) == name {
				return clientv3.LeaseID(event.Kv.GetLease())
			}
		}
	}
	t.Fatal("the watch ended")
	return 0
}

func TestCampaignWaitsUntilTheLeaderResigns(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, first := b.registry(t), b.leadership(t, "first")
	_, told := b.candidacy(t.Context(), t, "second")
	select {
	case o := <-told:
		t.Fatalf("elected beside a leader: %+v", o)
	default:
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := <-told
	if second.err != nil {
		t.Fatal(second.err)
	}
	if _, err := second.leadership.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema}); err != nil {
		t.Error(err)
	}
}

// etcd's own Campaign would return without an error and without a key.
func TestACandidateWhoseKeyExpiredCampaignsAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, first := b.registry(t), b.leadership(t, "first")
	seen := b.client.Watch(t.Context(), "/lapse/"+b.namespace+"/election/", clientv3.WithPrefix())
	lapsed, told := b.candidacy(t.Context(), t, "second")
	if b.stands(t, seen, "second") != lapsed {
		t.Fatal("two candidacies")
	}
	if _, err := b.client.Revoke(t.Context(), lapsed); err != nil {
		t.Fatal(err)
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := <-told
	if second.err != nil {
		t.Fatal(second.err)
	}
	if b.stands(t, seen, "second") == lapsed {
		t.Error("elected with the lapsed key")
	}
	if _, err := second.leadership.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema}); err != nil {
		t.Error(err)
	}
}

func TestAnAbandonedCampaignLeavesNoKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	b.registry(t)
	first := b.leadership(t, "first")
	ctx, cancel := context.WithCancel(t.Context())
	_, told := b.candidacy(ctx, t, "second")
	cancel()
	if o := <-told; !errors.Is(o.err, context.Canceled) {
		t.Errorf("got %+v, want context.Canceled", o)
	}
	resp, err := b.client.Get(t.Context(), "/lapse/"+b.namespace+"/election/", clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].GetValue()) != "first" {
		t.Errorf("the election has %v, %v", resp.Kvs, err)
	}
	select {
	case <-first.Lost():
		t.Error("the leader lost its leadership")
	default:
	}
}

// A leadership outlives the context of its campaign: Resign ends it.
func TestLeadershipOutlivesItsCampaign(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{CallTimeout: 2 * time.Second})
	registry := b.registry(t)
	ctx, cancel := context.WithCancel(t.Context())
	leadership, err := b.Campaign(ctx, "a", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := leadership.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema}); err != nil {
		t.Error(err)
	}
}
