package etcd_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/etcd"
	"lapse/lease/self"
)

// TestTheDeadAreNoPeersOnceTheirTimeoutHasPassed lets 50 of 200 sidecars stop, and etcd's own clock expire their heartbeats. They are
// gone for their peers, and in the snapshot that `lease list` prints, long before a mark could terminate them.
func TestTheDeadAreNoPeersOnceTheirTimeoutHasPassed(t *testing.T) {
	t.Parallel()
	const timeout, grace = lease.MinHeartbeatTimeout, 5 * time.Minute
	b := newBench(t, etcd.Options{})
	b.registry(t)
	var claims []lease.Claim
	for n := range 200 {
		id := fmt.Sprintf("i-0123456789abcd%03d", n)
		l := activeLease(id)
		l.Launch = "fleet"
		if _, err := b.PutLease(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		hb := lease.Heartbeat{InstanceID: id, BootID: "boot", Address: "10.0.0.7", HeartbeatTimeout: lease.Duration(time.Hour)}
		if n >= 150 {
			hb.HeartbeatTimeout = lease.Duration(timeout)
		}
		claim, err := b.Claim(t.Context(), hb)
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, claim)
	}
	me := claims[0].Heartbeat.InstanceID
	service := self.New(b.Store, time.Now, slog.New(slog.DiscardHandler))
	stopped := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ; ; <-ticker.C {
		peers, err := service.Peers(t.Context(), me)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := b.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(peers) < 150 || len(snapshot.Heartbeats) < 150 {
			t.Fatalf("the living are missing: %d peers, %d heartbeats", len(peers), len(snapshot.Heartbeats))
		}
		if len(peers) == 150 && len(snapshot.Heartbeats) == 150 {
			if slices.ContainsFunc(peers, func(p lease.Peer) bool { return p.InstanceID >= "i-0123456789abcd150" }) {
				t.Errorf("a dead one is a peer: %+v", peers)
			}
			t.Logf("gone after %s", time.Since(stopped).Round(time.Millisecond))
			return
		}
		if time.Since(stopped) > timeout+grace {
			t.Fatalf("still %d peers, %d heartbeats", len(peers), len(snapshot.Heartbeats))
		}
	}
}

// TestALargeRegistryIsNotSearched: in direct mode each of many sidecars could ask for it.
func TestALargeRegistryIsNotSearched(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	const most = 10_000
	for from := 0; from <= most; from += 100 {
		var puts []clientv3.Op
		for n := from; n < min(from+100, most+1); n++ {
			puts = append(puts, clientv3.OpPut(b.Key("lease", fmt.Sprintf("i-%06d", n)), "{}"))
		}
		if _, err := b.client.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	var limit *lease.LimitError
	if ids, err := b.Members(t.Context(), "web"); !errors.As(err, &limit) {
		t.Errorf("%d are found among 10,001: %v", len(ids), err)
	}
	if _, err := b.client.Delete(t.Context(), b.Key("lease", "i-000000")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Members(t.Context(), "web"); err != nil {
		t.Errorf("among 10,000: %v", err)
	}
}
