package edge

import "time"

// For the fuzz target.
var ReadProxy = readProxy

// Bodies is how many bodies of unproved callers are being read.
func (s *Server) Bodies() int {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.bodies.Len()
}

// HoldTurn takes a turn at the gate, and returns what gives it back.
func (s *Server) HoldTurn() (leave func(), err error) {
	return s.gate.leave, s.gate.enter(rankNew, time.Now(), nil)
}

// AtGate is how many wait at the gate.
func (s *Server) AtGate() (n int) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	for rank := range s.gate.ranks {
		n += s.gate.ranks[rank].Len()
	}
	return n
}
