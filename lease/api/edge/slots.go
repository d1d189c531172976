package edge

import "sync"

// slots are the requests in the handler.
type slots struct {
	max, share, perKey int

	mu            sync.Mutex
	all, unproved int
	keys          map[string]int // from the first byte of the body on
}

func newSlots(l Limits) *slots {
	return &slots{max: l.Requests, share: l.share(l.Requests), perKey: l.RequestsPerKey, keys: map[string]int{}}
}

// enterKey says whether a key may have one more request.
func (s *slots) enterKey(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key] >= s.perKey {
		return false
	}
	s.keys[key]++
	return true
}

func (s *slots) leaveKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key]--; s.keys[key] == 0 {
		delete(s.keys, key)
	}
}

// enter says why there is no room; empty: there is, until leave.
func (s *slots) enter(proved bool) Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !proved && s.unproved >= s.share:
		return KindUnprovedRequests
	case s.all >= s.max:
		return KindRequests
	}
	s.all++
	if !proved {
		s.unproved++
	}
	return ""
}

func (s *slots) leave(proved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if !proved {
		s.unproved--
	}
}

// load is how many requests there are.
func (s *slots) load() (unproved, proved int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unproved, s.all - s.unproved
}
