package etcdsim

// Watches counts those to which etcd sends events.
func (c *Cluster) Watches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches)
}
