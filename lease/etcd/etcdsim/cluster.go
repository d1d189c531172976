package etcdsim

import (
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Cluster is one etcd in memory: all its members, as clients see them. It is safe for concurrent use.
type Cluster struct {
	observe func(Commit)
	closed  chan struct{}
	closing sync.Once

	mu      sync.Mutex
	store   store
	term    uint64
	leases  lessor
	watches []*watch // in the order in which they were opened
	noSpace bool
	stalls  int
	waiting []func() // calls that arrived during a stall
}

// Options of a cluster.
type Options struct {
	// Observe, if not nil, is told each change of the store, in order, with the cluster locked: it must not call the
	// cluster.
	Observe func(Commit)
}

// Commit is one change of the store, at one revision. One that a restoration made lists how the store differs from
// what it was before.
type Commit struct {
	Revision      int64
	At            time.Time
	By            string   // name of the client; empty for what etcd did itself: etcd leases that ran out, faults
	Puts, Deletes []Change // in the order in which they were made
}

// Change is what a commit did to one key.
type Change struct {
	Key           string
	Value, Before []byte // Before is nil for a key that was created, Value for one that was deleted
	Lease         int64  // the etcd lease that holds it afterwards; for a deletion, that held it before; 0 for none
}

// The identities that answers bear.
const (
	clusterID = 0x1a95e
	memberID  = 0x1
	firstTerm = 2 // of an etcd that was just made
)

// New returns an empty etcd at revision 1.
func New(o Options) *Cluster {
	c := &Cluster{observe: o.Observe, closed: make(chan struct{}), term: firstTerm}
	c.store.wipe()
	c.leases.wipe()
	return c
}

// Close ends the cluster: nothing is served any more, and calls and watches end.
func (c *Cluster) Close() {
	c.closing.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.closed)
		c.leases.stop()
		c.waiting = nil
	})
}

// isClosed reports whether [Cluster.Close] was called. With the cluster locked, it stays as it is.
func (c *Cluster) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// enter locks the cluster for one call, if it serves calls now: etcd leases that ran out are revoked first.
func (c *Cluster) enter() bool {
	c.mu.Lock()
	if c.stalls > 0 || c.isClosed() {
		c.mu.Unlock()
		return false
	}
	c.expire()
	return true
}

// arrive serves a call: now, or once the cluster serves calls again.
func (c *Cluster) arrive(serve func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.isClosed():
	case c.stalls > 0:
		c.waiting = append(c.waiting, serve)
	default:
		c.expire()
		serve()
	}
}

// header is that of an answer given now.
func (c *Cluster) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: clusterID, MemberId: memberID, Revision: c.store.revision, RaftTerm: c.term}
}

// Revision is that of the last change.
func (c *Cluster) Revision() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.revision
}

// Term is raft's: it rises with each election.
func (c *Cluster) Term() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term
}

// Write writes a key past every client, as a foreign hand would.
func (c *Cluster) Write(key string, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(&pb.PutRequest{Key: []byte(key), Value: value})
	c.commit("")
}

// Erase deletes the keys under a prefix past every client.
func (c *Cluster) Erase(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(&pb.DeleteRangeRequest{Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix))})
	c.commit("")
}

// Dump lists the keys under a prefix, in their order. It does not wait for a stall to end.
func (c *Cluster) Dump(prefix string) (list []*mvccpb.KeyValue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.store.order[c.store.search(prefix):] {
		if !strings.HasPrefix(it.key, prefix) {
			break
		}
		if kv := it.now(); kv != nil {
			list = append(list, kv)
		}
	}
	return list
}
