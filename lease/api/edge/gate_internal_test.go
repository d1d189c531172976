package edge

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheGateLetsInByRank(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Handshakes: 1})
		end := time.Now().Add(time.Hour)
		if err := g.enter(rankNew, end, nil); err != nil {
			t.Fatal(err)
		}
		var order []string
		var all sync.WaitGroup
		for _, c := range []struct {
			name string
			rank int
		}{
			{"returning 1", rankReturning},
			{"new 1", rankNew},
			{"begun 1", rankBegun},
			{"new 2", rankNew},
			{"returning 2", rankReturning},
			{"begun 2", rankBegun},
		} {
			all.Go(func() {
				if err := g.enter(c.rank, end, nil); err != nil {
					t.Error(err)
				}
				order = append(order, c.name) // one at a time
				g.leave()
			})
			synctest.Wait()
		}
		g.leave()
		all.Wait()
		if want := []string{"begun 1", "begun 2", "returning 2", "returning 1", "new 2", "new 1"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
	})
}

func TestWhoeverWaitsAtTheGateLeavesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Handshakes: 1})
		began := time.Now()
		if err := g.enter(rankNew, began, nil); err != nil {
			t.Fatal(err)
		}
		if err := g.enter(rankNew, began.Add(time.Second), nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		done := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(done) })
		if err := g.enter(rankBegun, began.Add(time.Hour), done); !errors.Is(err, net.ErrClosed) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		g.leave()
		if err := g.enter(rankNew, began, nil); err != nil {
			t.Errorf("the turn is lost: %v", err)
		}
	})
}

// TestNoTurnIsLost has many wait for so short a time that some are let in just as they give up.
func TestNoTurnIsLost(t *testing.T) {
	t.Parallel()
	const turns = 3
	g := newGate(Limits{Handshakes: turns})
	var inside, had atomic.Int32
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			for range 200 {
				if err := g.enter(n%ranks, time.Now().Add(rand.N(100*time.Microsecond)), nil); err != nil {
					continue
				}
				if got := inside.Add(1); got > turns {
					t.Errorf("%d are inside", got)
				}
				had.Add(1)
				time.Sleep(rand.N(20 * time.Microsecond))
				inside.Add(-1)
				g.leave()
			}
		})
	}
	all.Wait()
	waiting := 0
	for n := range g.ranks {
		waiting += g.ranks[n].Len()
	}
	if g.free != turns || waiting > 0 {
		t.Errorf("%d turns are free, want %d; %d wait", g.free, turns, waiting)
	}
	if had.Load() == 0 {
		t.Error("nobody ever had a turn")
	}
}
