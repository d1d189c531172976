package etcdsim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Bounds of an etcd lease's TTL, in seconds. The least is one and a half election time-outs of 1 s, rounded up; the
// most is etcd's MaxLeaseTTL.
const (
	minTTL = 2
	maxTTL = 9_000_000_000
)

// lessor is the etcd leases. Ids are never used twice, also after a restoration: etcd makes them of the time.
type lessor struct {
	last  int64 // id
	held  map[int64]*etcdLease
	timer *time.Timer
	armed time.Time // when the timer fires; no lease runs out before that. Zero for never
}

// etcdLease is one of them.
type etcdLease struct {
	id, ttl int64 // seconds
	ends    time.Time
	keys    []string // sorted
}

// firstLease makes ids look like etcd's and unlike revisions.
const firstLease = 0x7a00_0000

func (l *lessor) wipe() {
	l.stop()
	*l = lessor{last: max(l.last, firstLease), held: map[int64]*etcdLease{}}
}

func (l *lessor) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.armed = time.Time{}
}

// move notes that a key, held by one etcd lease before (0 for none), is held by another.
func (l *lessor) move(key string, from, to int64) {
	if from == to {
		return
	}
	if before := l.held[from]; before != nil {
		before.keys = slices.DeleteFunc(before.keys, func(k string) bool { return k == key })
	}
	if after := l.held[to]; after != nil {
		i, _ := slices.BinarySearch(after.keys, key)
		after.keys = slices.Insert(after.keys, i, key)
	}
}

// all lists the etcd leases by id.
func (l *lessor) all() []*etcdLease {
	return slices.SortedFunc(maps.Values(l.held), func(a, b *etcdLease) int { return cmp.Compare(a.id, b.id) })
}

// refresh restarts an etcd lease at its full TTL.
func (e *etcdLease) refresh() { e.ends = time.Now().Add(time.Duration(e.ttl) * time.Second) }

// left is what remains of the TTL, in whole seconds.
func (e *etcdLease) left() int64 { return int64(time.Until(e.ends) / time.Second) }

func (c *Cluster) grant(timeout int64) (*etcdLease, error) {
	if c.noSpace {
		return nil, rpctypes.ErrGRPCNoSpace
	}
	if timeout > maxTTL {
		return nil, rpctypes.ErrGRPCLeaseTTLTooLarge
	}
	c.leases.last++
	e := &etcdLease{id: c.leases.last, ttl: max(timeout, minTTL)}
	e.refresh()
	c.leases.held[e.id] = e
	c.arm(e.ends)
	return e, nil
}

// revoke ends an etcd lease, and deletes its keys at one revision.
func (c *Cluster) revoke(e *etcdLease, by string) {
	delete(c.leases.held, e.id)
	for _, key := range e.keys {
		c.store.remove(c.store.items[key])
	}
	c.commit(by)
}

// arm sees to it that expire is called at a time, or earlier.
func (c *Cluster) arm(at time.Time) {
	l := &c.leases
	if !l.armed.IsZero() && !at.Before(l.armed) {
		return
	}
	if l.armed = at; l.timer == nil {
		l.timer = time.AfterFunc(time.Until(at), func() {
			if c.enter() {
				c.mu.Unlock()
			}
		})
		return
	}
	l.timer.Reset(time.Until(at))
}

// expire revokes the etcd leases that ran out, in the order in which they did.
func (c *Cluster) expire() {
	l := &c.leases
	if l.armed.IsZero() {
		return
	}
	now := time.Now()
	if now.Before(l.armed) {
		return
	}
	var due []*etcdLease
	var next time.Time
	for _, e := range l.held {
		if !now.Before(e.ends) {
			due = append(due, e)
		} else if next.IsZero() || e.ends.Before(next) {
			next = e.ends
		}
	}
	slices.SortFunc(due, func(a, b *etcdLease) int { return cmp.Or(a.ends.Compare(b.ends), cmp.Compare(a.id, b.id)) })
	for _, e := range due {
		c.revoke(e, "")
	}
	if l.armed = (time.Time{}); !next.IsZero() {
		c.arm(next)
	}
}
