package etcdsim

import "sync"

// Stall stops all serving: calls wait until their ctx ends, etcd leases run out and are not revoked. With wake that ends:
// the term rises by one, the etcd leases that ran out in between are revoked before anything else, and then the calls that
// had arrived are done, those whose callers have gone too. That is what etcd does whose leader was stopped, found itself
// replaced, and revokes nevertheless (https://github.com/etcd-io/etcd/issues/15247). Several stalls may overlap; wake may
// be called more than once. Other faults act at once, also in a stall.
func (c *Cluster) Stall() (wake func()) { return c.stall(true) }

// Freeze is a [Cluster.Stall] that no election follows: SIGSTOP and SIGCONT of an etcd of one member, which stays leader
// in the same term.
func (c *Cluster) Freeze() (wake func()) { return c.stall(false) }

func (c *Cluster) stall(elects bool) (wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalls++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if elects {
			c.term++
		}
		if c.stalls--; c.stalls > 0 || c.isClosed() {
			return
		}
		c.expire()
		waiting := c.waiting
		c.waiting = nil
		for _, serve := range waiting {
			serve()
		}
	})
}

// Elect begins a new term of raft, as a restart or a lost leader does: every etcd lease starts again at its full TTL,
// also one that ran out during a stall.
func (c *Cluster) Elect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elect()
}

func (c *Cluster) elect() {
	c.term++
	for _, e := range c.leases.held {
		e.refresh()
		c.arm(e.ends)
	}
}

// SetTerm makes raft's term another. It need not rise: a restored directory has the term that it was saved with, and one
// more, which may be the one that clients know.
func (c *Cluster) SetTerm(term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term = term
}

// Alarm raises NOSPACE or ends it: what would put a key or grant an etcd lease fails, all else goes on.
func (c *Cluster) Alarm(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noSpace = on
}

// ExpireAll lets every etcd lease run out that holds a key under the prefix, with all the keys that it holds.
func (c *Cluster) ExpireAll(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.leases.all() {
		if e.holds(prefix) {
			c.revoke(e, "")
		}
	}
}

// Compact forgets the history before the current revision.
func (c *Cluster) Compact() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store.compact(c.store.revision)
}
