package edge_test

import (
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
