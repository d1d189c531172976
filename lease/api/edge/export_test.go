package edge

// For the fuzz target.
var ReadProxy = readProxy

// Bodies is how many bodies of unproved callers are being read.
func (s *Server) Bodies() int {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.bodies.Len()
}
