package sidecar

import (
	"sync"
	"time"

	"lapse/lease"
)

// clock is the time as far as this machine knows it. Its own clock may be wrong, and etcd tells no time; but the last sweep
// that the registry speaks of has passed, and so has what passed on this machine since it was read.
type clock struct {
	own func() time.Time

	mu     sync.Mutex
	passed time.Time // of the last sweep
	read   time.Time // when it was first read, with a monotonic reading
}

// learn takes in the checkpoint of the last sweep as read, and reckons with it.
func (c *clock) learn(s lease.Checkpoint) lease.Reckoning {
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed := s.Watched(); !passed.Equal(c.passed) {
		c.passed, c.read = passed, time.Now()
	}
	r := c.reckon()
	r.Late = s.Reckon(r.Now).Late
	return r
}

// time reckons with the checkpoint that was read last.
func (c *clock) time() lease.Reckoning {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reckon()
}

func (c *clock) reckon() lease.Reckoning {
	since := lease.Checkpoint{}
	if !c.passed.IsZero() {
		since.Time = c.passed.Add(time.Since(c.read))
	}
	return since.Reckon(c.own())
}
