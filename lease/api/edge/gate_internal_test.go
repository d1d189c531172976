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

func TestTheGateLetsInThoseWhoHaveBegunAndThenTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Handshakes: 1})
		end := time.Now().Add(time.Hour)
		if err := g.enter(false, end, nil); err != nil {
			t.Fatal(err)
		}
		var order []string
		var all sync.WaitGroup
		for _, c := range []struct {
			name  string
			begun bool
		}{{"fresh 1", false}, {"begun 1", true}, {"fresh 2", false}, {"begun 2", true}, {"fresh 3", false}} {
			all.Go(func() {
				if err := g.enter(c.begun, end, nil); err != nil {
					t.Error(err)
				}
				order = append(order, c.name) // one at a time
				g.leave()
			})
			synctest.Wait()
		}
		g.leave()
		all.Wait()
		if want := []string{"begun 1", "begun 2", "fresh 3", "fresh 2", "fresh 1"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
	})
}

func TestWhoeverWaitsAtTheGateLeavesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Limits{Handshakes: 1})
		began := time.Now()
		if err := g.enter(false, began, nil); err != nil {
			t.Fatal(err)
		}
		if err := g.enter(false, began.Add(time.Second), nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		done := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(done) })
		if err := g.enter(true, began.Add(time.Hour), done); !errors.Is(err, net.ErrClosed) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		g.leave()
		if err := g.enter(false, began, nil); err != nil {
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
				if err := g.enter(n%2 == 0, time.Now().Add(rand.N(100*time.Microsecond)), nil); err != nil {
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
	if g.free != turns || g.begun.Len()+g.fresh.Len() > 0 {
		t.Errorf("%d turns are free, want %d; %d and %d wait", g.free, turns, g.begun.Len(), g.fresh.Len())
	}
	if had.Load() == 0 {
		t.Error("nobody ever had a turn")
	}
}
