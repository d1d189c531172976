package etcd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
)

const tries = 1000

// duel is one try of a race: two sides, and a verdict that checks what both were told and what is stored, and says
// whether the first won.
type duel struct {
	first, second func()
	firstWon      func() bool
}

// race starts both sides of each duel at a barrier. Whoever won starts a little later in the next, by one more read of
// etcd, give or take one, so that both win often on any machine. It fails if one side never wins.
func race(t *testing.T, b *bench, first, second string, next func(i int) duel) {
	t.Helper()
	var wins [2]int
	var handicap int // of the first; of the second if negative
	for i := range tries {
		d := next(i)
		runDuel(d, func(reads int) {
			for range reads {
				b.get(t, b.Key("registry", ""))
			}
		}, handicap+rand.IntN(3)-1)
		if d.firstWon() {
			wins[0]++
			handicap++
		} else {
			wins[1]++
			handicap--
		}
		if t.Failed() {
			t.Fatalf("in try %d", i)
		}
	}
	t.Logf("%s won %d, %s won %d", first, wins[0], second, wins[1])
	if wins[0] == 0 || wins[1] == 0 {
		t.Errorf("one side never won")
	}
}

func runDuel(d duel, dawdle func(reads int), handicap int) {
	var barrier, done sync.WaitGroup
	barrier.Add(2)
	side := func(act func(), reads int) {
		barrier.Done()
		barrier.Wait()
		dawdle(max(0, reads))
		act()
	}
	done.Go(func() { side(d.first, handicap) })
	done.Go(func() { side(d.second, -handicap) })
	done.Wait()
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestExtendAgainstRevoke(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, leadership := b.registry(t), b.leadership(t, "janitor")
	race(t, b, "extend", "revoke", func(i int) duel {
		l := b.mustPut(t, activeLease(fmt.Sprintf("i-%d", i)))
		var extendErr, revokeErr error
		until := start.Add(2 * time.Hour)
		return duel{
			first: func() {
				_, _, extendErr = b.UpdateLease(t.Context(), l.InstanceID, func(l lease.Lease) (lease.Lease, error) {
					return l.Extend(start, lease.Extension{Until: until}, lease.By{Actor: "cli"})
				})
			},
			second: func() { revokeErr = revoke(t, leadership, registry, l, lease.CauseExpired) },
			firstWon: func() bool {
				stored := b.mustLease(t, l.InstanceID)
				switch {
				case extendErr == nil && is[*lease.ConflictError](revokeErr):
					if stored.State != lease.StateActive || !stored.ExpiresAt.Equal(until) {
						t.Errorf("extend won, stored %+v", stored)
					}
					return true
				case is[*lease.StateError](extendErr) && revokeErr == nil:
					if stored.State != lease.StateRevoked || !stored.ExpiresAt.Equal(l.ExpiresAt) {
						t.Errorf("revoke won, stored %+v", stored)
					}
				default:
					t.Errorf("extend: %v; revoke: %v", extendErr, revokeErr)
				}
				return false
			},
		}
	})
}

func TestLateHeartbeatAgainstARevocationForItsLoss(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, leadership := b.registry(t), b.leadership(t, "janitor")
	race(t, b, "heartbeat", "revoke", func(i int) duel {
		l := b.mustPut(t, activeLease(fmt.Sprintf("i-%d", i)))
		var claim lease.Claim
		var claimErr, revokeErr error
		return duel{
			first: func() {
				claim, claimErr = b.Claim(t.Context(), lease.Heartbeat{InstanceID: l.InstanceID, BootID: "boot"})
			},
			second: func() { revokeErr = revoke(t, leadership, registry, l, lease.CauseHeartbeatLost) },
			firstWon: func() bool {
				stored, heartbeats := b.mustLease(t, l.InstanceID), b.get(t, b.Key("heartbeat", l.InstanceID)).Kvs
				var conflict *lease.ConflictError
				switch {
				case claimErr == nil && errors.As(revokeErr, &conflict) && conflict.Kind == "heartbeat":
					if stored.State != lease.StateActive || len(heartbeats) != 1 || heartbeats[0].GetLease() != claim.Handle {
						t.Errorf("the heartbeat won, stored %+v, %v", stored, heartbeats)
					}
					return true
				case is[*lease.StateError](claimErr) && revokeErr == nil:
					if stored.State != lease.StateRevoked || len(heartbeats) != 0 {
						t.Errorf("revoke won, stored %+v, %v", stored, heartbeats)
					}
				default:
					t.Errorf("claim: %v; revoke: %v", claimErr, revokeErr)
				}
				return false
			},
		}
	})
}

func TestLateBindAgainstClosing(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, leadership := b.registry(t), b.leadership(t, "janitor")
	race(t, b, "bind", "closing", func(i int) duel {
		launch, err := b.PutLaunch(t.Context(), openLaunch(fmt.Sprintf("launch-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("i-%d", i)
		var bound []lease.Lease
		var bindErr, closeErr, orphanErr error
		return duel{
			first: func() { bound, bindErr = b.Bind(t.Context(), launch, []lease.Lease{activeLease(id)}) },
			second: func() {
				closed, _ := launch.Close(start, "window over")
				if closed, closeErr = leadership.PutLaunch(t.Context(), registry, closed); closeErr == nil {
					a, by := closed.Attempts[0], lease.By{Actor: "janitor"}
					_, orphanErr = leadership.PutLease(t.Context(), registry, closed.Orphan(start, lease.Instance{ID: id}, a, by))
				}
			},
			firstWon: func() bool {
				stored := b.mustLease(t, id)
				// A launcher that comes after the orphan's lease finds that one instead of being refused.
				refused := is[*lease.LaunchStateError](bindErr) || bindErr == nil && bound[0].State == lease.StateRevoked
				switch {
				case closeErr != nil:
					t.Errorf("close: %v", closeErr)
				case bindErr == nil && bound[0].State == lease.StateActive && is[*lease.ConflictError](orphanErr):
					if stored.State != lease.StateActive {
						t.Errorf("bind won, stored %+v", stored)
					}
					return true
				case refused && orphanErr == nil:
					if stored.State != lease.StateRevoked || stored.Cause != lease.CauseFailedCreation {
						t.Errorf("closing won, stored %+v", stored)
					}
				default:
					t.Errorf("bind: %v, %v; orphan: %v", bound, bindErr, orphanErr)
				}
				return false
			},
		}
	})
}

func TestTwoJanitorsAgainstOneLease(t *testing.T) {
	t.Parallel()
	b := newBench(t, etcd.Options{})
	registry, old := b.registry(t), b.leadership(t, "janitor-0")
	race(t, b, "old", "young", func(i int) duel {
		l := b.mustPut(t, activeLease(fmt.Sprintf("i-%d", i)))
		var young *etcd.Leadership
		var oldErr, youngErr error
		return duel{
			first: func() { oldErr = revoke(t, old, registry, l, lease.CauseRevoke) },
			second: func() {
				b.depose(t)
				young = b.leadership(t, fmt.Sprintf("janitor-%d", i+1))
				youngErr = revoke(t, young, registry, l, lease.CauseRevoke)
			},
			firstWon: func() bool {
				oldName := old.Name()
				old = young
				stored := b.mustLease(t, l.InstanceID)
				by := stored.History[len(stored.History)-1].Actor
				switch {
				case oldErr == nil && is[*lease.ConflictError](youngErr):
					if by != oldName {
						t.Errorf("the old one won, stored by %s", by)
					}
					return true
				case is[*lease.DeposedError](oldErr) && youngErr == nil:
					if by != young.Name() {
						t.Errorf("the young one won, stored by %s", by)
					}
				default:
					t.Errorf("old: %v; young: %v", oldErr, youngErr)
				}
				return false
			},
		}
	})
}

// revoke revokes the lease as it was read before.
func revoke(t *testing.T, leadership *etcd.Leadership, registry lease.Registry, l lease.Lease, cause lease.Cause) error {
	t.Helper()
	revoked, err := l.Revoke(start, cause, lease.By{Actor: leadership.Name()})
	if err != nil {
		return err
	}
	_, err = leadership.Revoke(t.Context(), registry, revoked, cause.Inferred())
	return err
}

func (b *bench) mustPut(t *testing.T, l lease.Lease) lease.Lease {
	t.Helper()
	stored, err := b.PutLease(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func (b *bench) mustLease(t *testing.T, id string) lease.Lease {
	t.Helper()
	stored, err := b.Lease(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}
