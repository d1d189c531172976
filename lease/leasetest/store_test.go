package leasetest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
)

func TestANewerLeaderDeposesTheOlderWhichLearnsOfItLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := leasetest.NewStore()
		t.Cleanup(store.Close)
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
