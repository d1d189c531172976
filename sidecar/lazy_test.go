package sidecar

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
)

func TestTheRegistryIsUnreachableAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &registry{lease: active(time.Now(), time.Minute)}
		var there atomic.Bool
		var opens atomic.Int32
		direct := opened(store, time.Now)
		run := begin(t, store, func(c *Config) {
			c.Open = func(ctx context.Context) (Registry, error) {
				if !there.Load() { // dials until its deadline
					<-ctx.Done()
					return nil, ctx.Err()
				}
				opens.Add(1)
				return direct(ctx)
			}
		})
		pass(time.Hour)
		if len(run.told("READY=1")) != 1 || run.Status().Phase != PhaseClaiming || run.Status().Failure == "" {
			t.Errorf("while it is away: %+v", run.Status())
		}
		ctx, cancel := context.WithTimeout(t.Context(), requestMax)
		defer cancel()
		_, unreachable := run.release(ctx, ReleaseRequest{})
		if !as[*lease.UnavailableError](unreachable) {
			t.Errorf("a write that was never sent: %T %v", unreachable, unreachable)
		}
		there.Store(true)
		pass(time.Minute)
		if run.Status().Phase != PhaseHolding || opens.Load() != 1 {
			t.Errorf("once it is there: %+v, opened %d times", run.Status(), opens.Load())
		}
		if _, err := run.extend(t.Context(), lease.ExtendRequest{For: lease.Duration(30 * time.Hour)}); err != nil {
			t.Error(err)
		}
	})
}

// The store that all packages' tests share keeps what the suite of every store asks for, which this package's own fake
// may not.
func TestLifeOnTheSharedFake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := leasetest.NewStore()
		run := begin(t, nil, func(c *Config) { c.Open = opened(store, time.Now) })
		by := lease.By{Actor: "test"}

		l := active(time.Now(), 20*time.Second)
		l.ClaimedAt = time.Time{}
		if _, err := store.PutLease(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		if s := run.Status(); s.Phase != PhaseHolding || s.Lease.ClaimedAt.IsZero() || time.Duration(s.HeartbeatTimeout) != 20*time.Second {
			t.Fatalf("not held after it was bound: %+v", s)
		}
		store.Lapse(instance)
		pass(6 * time.Second)
		pass(time.Hour)
		if run.log.count("heartbeat lost") != 1 || run.Status().Phase != PhaseHolding || store.Get("heartbeat", instance) == nil {
			t.Errorf("after the key expired: %+v", run.Status())
		}
		if _, err := run.extend(t.Context(), lease.ExtendRequest{By: lease.Duration(time.Hour)}); err != nil {
			t.Error(err)
		}
		_, _, err := store.UpdateLease(t.Context(), instance, func(l lease.Lease) (lease.Lease, error) {
			return l.Revoke(time.Now(), lease.CauseRevoke, by)
		})
		if err != nil {
			t.Fatal(err)
		}
		pass(6 * time.Second)
		var over *lease.StateError
		if err := <-run.done; !errors.As(err, &over) || over.Cause != lease.CauseRevoke {
			t.Errorf("ended with %v", err)
		}
		pass(time.Minute)
		if store.Get("heartbeat", instance) != nil {
			t.Error("the heartbeat outlives its sidecar")
		}
	})
}
