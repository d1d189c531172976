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

func TestALeaderKnowsSinceWhenEtcdHasNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := leasetest.NewStore()
		t.Cleanup(store.Close)
		if _, err := store.PutRegistry(t.Context(), lease.NewRegistry(time.Now(), "uuid", lease.ModeArmed)); err != nil {
			t.Fatal(err)
		}
		elected := time.Now()
		leader, err := store.Campaign(t.Context(), "one", 15*time.Second) // renewed every 3 s
		if err != nil {
			t.Fatal(err)
		}
		steady := func(when string, want time.Time) {
			t.Helper()
			if got := leader.Steady(); !got.Equal(want) {
				t.Errorf("%s: steady since %s, want %s", when, got.Sub(elected), want.Sub(elected))
			}
		}
		time.Sleep(time.Minute + time.Second)
		steady("a calm minute", elected)
		wake := store.Freeze()
		time.Sleep(3 * time.Second)
		steady("a stall of 3 s", elected)
		time.Sleep(time.Second)
		steady("a stall of 4 s", time.Now())
		time.Sleep(3 * time.Second)
		steady("a stall of 7 s", time.Now())
		wake()
		time.Sleep(3 * time.Second)
		again := leader.Steady()
		if !again.After(elected) || time.Since(again) > 3*time.Second {
			t.Errorf("once etcd answers again: steady since %s", again.Sub(elected))
		}
		time.Sleep(time.Minute)
		steady("a minute later", again)
		leader.While(func() error { return errors.New("the loop hangs") })
		time.Sleep(5 * time.Second)
		steady("a loop that hangs", time.Now())
		select {
		case <-leader.Lost():
			t.Error("lost")
		default:
		}
	})
}
