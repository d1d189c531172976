package edge_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

// TestWhoeverIsClosedLeavesTheGate: one that is displaced while it waits there has been told of, and asks for no turn any more.
func TestWhoeverIsClosedLeavesTheGate(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) {
		c.Limits.Handshakes, c.Limits.Connections = 1, 4 // 1 of unproved callers
		c.Timeouts.Patience, c.Timeouts.Handshake = time.Nanosecond, 10*time.Second
	})
	leave, err := r.server.HoldTurn()
	if err != nil {
		t.Fatal(err)
	}
	r.begins("127.0.0.1", 22)
	r.until("it waits at the gate", func() bool { return r.server.AtGate() == 1 })
	r.begins("127.0.0.2")
	r.until("it waits no more", func() bool { return r.server.AtGate() == 0 })
	r.only(edge.KindDisplaced, 1)
	leave()
}

// begins has somebody connect, and send this of a handshake.
func (r *rig) begins(from string, hello ...byte) {
	r.Helper()
	conn, err := r.caller(from, hello...).dial(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = conn.Close() })
}

// TestServeEndsWhileManyWaitAtTheGate: those who wait there are closed, and nothing is counted against them.
func TestServeEndsWhileManyWaitAtTheGate(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]bool{"asked to": false, "when it cannot accept": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := &short{Listener: listener, err: syscall.EINVAL}
			r := start(t, func(c *edge.Config) { c.Listener, c.Limits.Handshakes = l, 1 })
			if _, err := r.server.HoldTurn(); err != nil {
				t.Fatal(err)
			}
			for range 300 {
				r.begins("127.0.0.1", 22)
			}
			r.until("all wait at the gate", func() bool { return r.server.AtGate() == 300 })
			if fails {
				l.fails.Store(1)
				r.begins("127.0.0.1") // for the accept before it has begun already
			} else {
				r.stop()
			}
			select {
			case err := <-r.ended:
				if (err != nil) != fails {
					t.Error(err)
				}
				r.ended <- nil
			case <-time.After(generous / 4):
				t.Error("Serve does not end")
			}
			if n := r.server.AtGate(); n > 0 || len(r.counts.refused) > 0 {
				t.Errorf("%d wait at the gate, and refused are %v", n, r.counts.refused)
			}
		})
	}
}
