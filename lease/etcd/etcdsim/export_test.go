package etcdsim

// Watches counts those to which etcd sends events.
func (c *Cluster) Watches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches)
}

// Items counts the keys of which anything is remembered.
func (c *Cluster) Items() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(len(c.store.items), len(c.store.order))
}
