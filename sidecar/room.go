package sidecar

import "sync"

// Connections that may be open at once. They bound what local users can cost the sidecar, whose heartbeat must not starve
// of memory or file descriptors.
const (
	sharedRoom = 64 // for all users but root
	rootRoom   = 16 // for root alone, whatever the others do
)

// room counts the open connections by user id. A user may hold as many as are still free, so one user gets half of the
// shared room at most, the next a quarter, and there is room for users who have none yet.
type room struct {
	mu   sync.Mutex
	root int
	free int // of the shared room
	held map[int64]int
}

func newRoom() *room { return &room{free: sharedRoom, held: map[int64]int{}} }

// enter takes room for one connection of a user, until leave is called, or reports that there is none. Users whom the
// kernel does not name, -1, count as one.
func (r *room) enter(uid int64) (leave func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case uid == 0 && r.root < rootRoom:
		r.root++
	case uid != 0 && r.held[uid] < r.free:
		r.held[uid]++
		r.free--
	default:
		return nil, false
	}
	return sync.OnceFunc(func() { r.leave(uid) }), true
}

func (r *room) leave(uid int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid == 0 {
		r.root--
		return
	}
	r.free++
	if r.held[uid]--; r.held[uid] == 0 {
		delete(r.held, uid)
	}
}
