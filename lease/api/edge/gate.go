package edge

import (
	"container/list"
	"net"
	"os"
	"sync"
	"time"
)

// gate bounds how many handshakes compute at once. One costs far more than a renewal: when thousands of callers come back at
// once, all of them side by side would be too late, and so would the requests of those who are in. So they come in by turns, and
// one whose time runs out before it had a turn has cost nothing. Nobody has a turn while it waits for the network.
type gate struct {
	mu    sync.Mutex
	free  int
	ranks [ranks]list.List // of turns, the next one first
}

// Ranks at the gate, the first of them first. Of those who have had a turn before, it is who waits longest; of the others, the newest,
// who has most of its time left.
const (
	rankBegun     = iota // it has had a turn before
	rankReturning        // from where a proved caller is at home
	rankNew
	rankDribbling // it has had more than turnsMax
	ranks
)

// turnsMax is how many turns a handshake has before all others go first. Most need four, and a hello may come in pieces: but who sends
// byte by byte would ask for a turn with each.
const turnsMax = 16

// turn is closed once it is somebody's.
type turn chan struct{}

func newGate(l Limits) *gate { return &gate{free: l.Handshakes} }

// enter waits for a turn until end, or until done is closed.
func (g *gate) enter(rank int, end time.Time, done <-chan struct{}) (err error) {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	mine, in := make(turn), &g.ranks[rank]
	push := in.PushFront
	if rank == rankBegun || rank == rankDribbling {
		push = in.PushBack
	}
	waiting := push(mine)
	g.mu.Unlock()
	timeout := time.NewTimer(time.Until(end))
	defer timeout.Stop()
	select {
	case <-mine:
		return nil
	case <-timeout.C:
		err = os.ErrDeadlineExceeded
	case <-done:
		err = net.ErrClosed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-mine: // just now
		return nil
	default:
		in.Remove(waiting)
		return err
	}
}

// leave lets the next one in.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for rank := range g.ranks {
		if first := g.ranks[rank].Front(); first != nil {
			close(g.ranks[rank].Remove(first).(turn)) //nolint:forcetypeassert // nothing else is in there
			return
		}
	}
	g.free++
}
