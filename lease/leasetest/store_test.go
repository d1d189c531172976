package leasetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
)

func TestFakePassesTheSuite(t *testing.T) {
	leasetest.Run(t, func(*testing.T) leasetest.Stores {
		store := leasetest.NewStore()
		return leasetest.Stores{
			Store: store,
			Campaign: func(ctx context.Context, name string, timeout time.Duration) (leasetest.Leader, error) {
				return store.Campaign(ctx, name, timeout)
			},
			Depose:  func(testing.TB) { store.Depose() },
			Put:     func(_ testing.TB, kind, id string, data []byte) { store.Put(kind, id, data) },
			Get:     func(_ testing.TB, kind, id string) []byte { return store.Get(kind, id) },
			Lapse:   func(_ testing.TB, id string) { store.Lapse(id) },
			Compact: func(testing.TB) { store.Compact() },
		}
	})
}

func TestHeartbeatIsLostAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := leasetest.NewStore()
		hb := lease.Heartbeat{InstanceID: "i-1", HeartbeatTimeout: lease.Duration(time.Minute)}
		claim, err := store.Claim(t.Context(), hb)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if claim, _, err = store.Renew(t.Context(), claim, hb); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if store.Get("heartbeat", "i-1") == nil {
			t.Error("lost before its timeout")
		}
		time.Sleep(2 * time.Second)
		var lost *lease.ClaimLostError
		if _, _, err := store.Renew(t.Context(), claim, hb); !errors.As(err, &lost) {
			t.Errorf("after its timeout: %v", err)
		}
	})
}

func TestANewerLeaderDeposesTheOlderWhichLearnsOfItLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := leasetest.NewStore()
		registry, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeArmed))
		if err != nil {
			t.Fatal(err)
		}
		old, err := store.Campaign(t.Context(), "old", 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Campaign(t.Context(), "young", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		var deposed *lease.DeposedError
		if _, err := old.PutCheckpoint(t.Context(), registry, lease.Checkpoint{}); !errors.As(err, &deposed) {
			t.Errorf("the older writes: %v", err)
		}
		<-old.Lost()
		if waited := time.Since(since); waited != 10*time.Second {
			t.Errorf("lost after %v, want its ttl", waited)
		}
	})
}

func TestFaultIsReturnedInsteadOfAnAnswer(t *testing.T) {
	store := leasetest.NewStore()
	down := errors.New("down")
	store.Fault = func(method string) error {
		if method == "Lease" {
			return down
		}
		return nil
	}
	if _, err := store.Lease(t.Context(), "i-1"); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	if err := store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}
