package self

import (
	"sync"
	"time"

	"lapse/lease"
)

// Clock is the time as far as this machine knows it. Its own clock may be wrong, and etcd tells no time; but the last sweep
// that the registry speaks of has passed, and so has what passed on this machine since it was read.
type Clock struct {
	own func() time.Time

	mu     sync.Mutex
	passed time.Time // of the last sweep
	read   time.Time // when it was first read, with a monotonic reading
}

// NewClock returns a clock that knows no more than the machine's own.
func NewClock(own func() time.Time) *Clock { return &Clock{own: own} }

// Learn takes in the checkpoint of the last sweep as read, and reckons with it.
func (c *Clock) Learn(s lease.Checkpoint) lease.Reckoning {
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed := s.Watched(); !passed.Equal(c.passed) {
		c.passed, c.read = passed, time.Now()
	}
	r := c.reckon()
	r.Late = s.Reckon(r.Now).Late
	return r
}

// Time reckons with the checkpoint that was read last.
func (c *Clock) Time() lease.Reckoning {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reckon()
}

func (c *Clock) reckon() lease.Reckoning {
	since := lease.Checkpoint{}
	if !c.passed.IsZero() {
		since.Time = c.passed.Add(time.Since(c.read))
	}
	return since.Reckon(c.own())
}
