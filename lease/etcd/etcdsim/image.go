package etcdsim

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Image is a snapshot of a cluster, as a backup keeps it. Later changes of the cluster do not change it.
type Image struct {
	store  store
	leases []etcdLease
}

// Revision of the image.
func (i Image) Revision() int64 { return i.store.revision }

// Image takes a snapshot. It does not wait for a stall to end.
func (c *Cluster) Image() Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	image := Image{store: c.store.clone()}
	for _, e := range c.leases.all() {
		image.leases = append(image.leases, e.clone())
	}
	return image
}

// Restore makes the cluster what it was when the image was taken, as a restored backup does without bumping its
// revision: keys, history and revision are the image's, so the revision goes back. Etcd leases count from their full TTL
// anew, and the term rises by one (see [Cluster.SetTerm]). Calls that wait in a stall are lost. Open watches go on where they were: they see
// nothing until the revision has passed what they had seen.
func (c *Cluster) Restore(image Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.store
	c.store = image.store.clone()
	c.leases.wipe()
	for _, e := range image.leases {
		lease := e.clone()
		c.leases.held[lease.id] = &lease
	}
	c.elect()
	c.reconnect(before)
}

// Wipe makes the cluster an empty one at revision 1, as a new data directory does. All else is as with
// [Cluster.Restore].
func (c *Cluster) Wipe() {
	empty := Image{}
	empty.store.wipe()
	c.Restore(empty)
}

// reconnect is what clients notice of another store: calls are lost, watches go on.
func (c *Cluster) reconnect(before store) {
	c.waiting = nil
	for _, w := range c.watches {
		w.catchUp()
	}
	if done := difference(before, c.store); c.observe != nil && len(done.deeds) > 0 {
		c.observe(done.commit(""))
	}
}

// difference is what would have made one store of the other, as one change.
func difference(from, to store) change {
	done := change{revision: to.revision}
	for _, it := range to.order {
		now, before := it.now(), from.get([]byte(it.key))
		if now != nil && (before == nil || !same(now, before)) {
			done.deeds = append(done.deeds, deed{&mvccpb.Event{Type: mvccpb.Event_PUT, Kv: now}, before})
		}
	}
	for _, it := range from.order {
		if before := it.now(); before != nil && to.get([]byte(it.key)) == nil {
			gone := &mvccpb.KeyValue{Key: before.Key, ModRevision: to.revision}
			done.deeds = append(done.deeds, deed{&mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: gone}, before})
		}
	}
	return done
}

// same reports whether two states of a key hold the same, as far as an observer is told.
func same(a, b *mvccpb.KeyValue) bool { return a.Lease == b.Lease && bytes.Equal(a.Value, b.Value) }

// clone shares what never changes: versions and changes once made.
func (s *store) clone() store {
	copied := store{
		revision: s.revision, compacted: s.compacted, items: make(map[string]*item, len(s.items)),
		order: make([]*item, len(s.order)), log: slices.Clip(s.log),
	}
	for i, it := range s.order {
		it := &item{key: it.key, versions: slices.Clip(it.versions)}
		copied.items[it.key], copied.order[i] = it, it
	}
	return copied
}

func (e *etcdLease) clone() etcdLease {
	return etcdLease{id: e.id, ttl: e.ttl, ends: time.Time{}, keys: slices.Clone(e.keys)}
}

// holds reports whether it holds a key under the prefix.
func (e *etcdLease) holds(prefix string) bool {
	return slices.ContainsFunc(e.keys, func(key string) bool { return strings.HasPrefix(key, prefix) })
}
