package edge

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// table is all connections. Each is of an unproved caller or of a proved one, and waits or is in the handler. One that waits can
// be closed to make room for another.
type table struct {
	max, share, perAddress, perKey, maxBodies int
	patience                                  time.Duration

	mu        sync.Mutex
	unproved  class
	proved    class
	addresses map[netip.Prefix]int // connections of unproved callers
	keys      map[string][]*conn   // connections of proved callers, the oldest first
	bodies    *list.List           // connections of unproved callers whose body is being read, the oldest first
}

// class is the connections of one class of callers.
type class struct {
	n       int
	waiting *list.List // the longest wait first
}

// place is a connection's place in the table, which alone changes it.
type place struct {
	in      bool
	proved  bool
	group   netip.Prefix  // not valid until the address is known
	since   time.Time     // it waits
	waiting *list.Element // nil: it does not
	body    *list.Element // nil: no body is being read, or the caller is proved
}

// displaced is a connection that was closed for another.
type displaced struct {
	addr   netip.Addr
	proved bool
}

func newTable(c Config) *table {
	l := c.Limits
	return &table{
		max: l.Connections, share: l.share(l.Connections), perAddress: l.ConnectionsPerAddress, perKey: l.ConnectionsPerKey, maxBodies: l.Bodies,
		patience: c.Timeouts.Patience, unproved: class{waiting: list.New()}, proved: class{waiting: list.New()},
		addresses: map[netip.Prefix]int{}, keys: map[string][]*conn{}, bodies: list.New(),
	}
}

func (t *table) class(c *conn) *class {
	if c.place.proved {
		return &t.proved
	}
	return &t.unproved
}

// add takes a connection in, as one of an unproved caller that waits, or says why there is no room. It returns those that it
// closed for it.
func (t *table) add(c *conn, from netip.Prefix) (closed []displaced, refused Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if closed, refused = t.roomFor(from); refused != "" {
		return closed, refused
	}
	if t.unproved.n >= t.share && !t.displace(&closed, t.unproved.waiting, nil) {
		return closed, KindConnections
	}
	if t.unproved.n+t.proved.n >= t.max && !t.displace(&closed, t.unproved.waiting, nil) && !t.displace(&closed, t.proved.waiting, nil) {
		return closed, KindConnections
	}
	c.place = place{in: true, group: from, since: time.Now()}
	c.place.waiting = t.unproved.waiting.PushBack(c)
	t.count(c, 1)
	return closed, ""
}

// locate says from where a connection comes, which its proxy has told only now.
func (t *table) locate(c *conn, addr netip.AddrPort) (closed []displaced, refused Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.addr = addr
	from := group(addr.Addr())
	if !c.place.in {
		return nil, ""
	}
	if closed, refused = t.roomFor(from); refused != "" {
		return closed, refused
	}
	t.count(c, -1)
	c.place.group = from
	t.count(c, 1)
	return closed, ""
}

// roomFor makes room among the connections of an address.
func (t *table) roomFor(from netip.Prefix) (closed []displaced, refused Kind) {
	if !from.IsValid() || t.addresses[from] < t.perAddress {
		return nil, ""
	}
	if !t.displace(&closed, t.unproved.waiting, func(c *conn) bool { return c.place.group == from }) {
		return nil, KindAddress
	}
	return closed, ""
}

// displace closes the connection that has waited longest, unless none has waited for long enough.
func (t *table) displace(closed *[]displaced, from *list.List, only func(*conn) bool) bool {
	now := time.Now()
	for e := from.Front(); e != nil; e = e.Next() {
		c := e.Value.(*conn)
		if now.Sub(c.place.since) < t.patience {
			return false
		}
		if only == nil || only(c) {
			*closed = append(*closed, displaced{c.addr.Addr(), c.place.proved})
			t.drop(c)
			c.cut()
			return true
		}
	}
	return false
}

// remove forgets a connection that is closed.
func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(c)
}

func (t *table) drop(c *conn) {
	if !c.place.in {
		return
	}
	t.endBody(c)
	if c.place.waiting != nil {
		t.class(c).waiting.Remove(c.place.waiting)
		c.place.waiting = nil
	}
	t.count(c, -1)
	c.place.in = false
}

// count counts a connection in its class, or out of it.
func (t *table) count(c *conn, by int) {
	t.class(c).n += by
	switch {
	case c.place.proved && by > 0:
		t.keys[c.key] = append(t.keys[c.key], c)
	case c.place.proved:
		if t.keys[c.key] = slices.DeleteFunc(t.keys[c.key], func(other *conn) bool { return other == c }); len(t.keys[c.key]) == 0 {
			delete(t.keys, c.key)
		}
	case c.place.group.IsValid():
		if t.addresses[c.place.group] += by; t.addresses[c.place.group] == 0 {
			delete(t.addresses, c.place.group)
		}
	}
}

// classify puts a connection into the class of its caller. If that makes too many of one proved key, the oldest of them counts as
// one of an unproved caller: it may be one that the caller has lost and not closed.
func (t *table) classify(c *conn, proved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !c.place.in || c.place.proved == proved {
		return
	}
	t.move(c, proved)
	if of := t.keys[c.key]; proved && len(of) > t.perKey {
		t.move(of[0], false)
	}
}

func (t *table) move(c *conn, proved bool) {
	waits := c.place.waiting != nil
	if waits {
		t.class(c).waiting.Remove(c.place.waiting)
	}
	t.endBody(c)
	t.count(c, -1)
	c.place.proved = proved
	t.count(c, 1)
	if waits {
		c.place.waiting = inOrder(t.class(c).waiting, c)
	}
}

// inOrder adds a connection behind those that have waited longer.
func inOrder(waiting *list.List, c *conn) *list.Element {
	for e := waiting.Back(); e != nil; e = e.Prev() {
		if !e.Value.(*conn).place.since.After(c.place.since) {
			return waiting.InsertAfter(c, e)
		}
	}
	return waiting.PushFront(c)
}

// busy says that a connection's request is in the handler: it is not closed for others.
func (t *table) busy(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place.waiting != nil {
		t.class(c).waiting.Remove(c.place.waiting)
		c.place.waiting = nil
	}
}

// rest says that a connection waits for its next request. A request that was refused ends no wait.
func (t *table) rest(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place.in && c.place.waiting == nil {
		c.place.since = time.Now()
		c.place.waiting = t.class(c).waiting.PushBack(c)
	}
}

// beginBody says whether there is room to read a body, until doneBody. A new wait begins.
func (t *table) beginBody(c *conn) (closed []displaced, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !c.place.in || c.place.waiting == nil {
		return nil, true
	}
	c.place.since = time.Now()
	t.class(c).waiting.MoveToBack(c.place.waiting)
	if c.place.proved {
		return nil, true
	}
	if t.bodies.Len() >= t.maxBodies && !t.displace(&closed, t.bodies, nil) {
		return nil, false
	}
	c.place.body = t.bodies.PushBack(c)
	return closed, true
}

func (t *table) doneBody(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endBody(c)
}

func (t *table) endBody(c *conn) {
	if c.place.body != nil {
		t.bodies.Remove(c.place.body)
		c.place.body = nil
	}
}

// relieve closes the connection of an unproved caller that has waited longest, whatever its wait.
func (t *table) relieve() (closed []displaced) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if front := t.unproved.waiting.Front(); front != nil {
		c := front.Value.(*conn)
		closed = append(closed, displaced{c.addr.Addr(), c.place.proved})
		t.drop(c)
		c.cut()
	}
	return closed
}

// closeWaiting closes every connection that waits, except for the rest of a request's body.
func (t *table) closeWaiting() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, waiting := range []*list.List{t.unproved.waiting, t.proved.waiting} {
		for e := waiting.Front(); e != nil; {
			c := e.Value.(*conn)
			if e = e.Next(); !c.asks() {
				t.drop(c)
				c.cut()
			}
		}
	}
}

func (t *table) isProved(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.place.proved
}

// load is how many connections there are.
func (t *table) load() (unproved, proved int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unproved.n, t.proved.n
}
