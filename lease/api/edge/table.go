package edge

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// table is all connections. Each is of one class, and waits or is in the handler. One that waits can be closed to make room for
// another.
type table struct {
	max, share, perAddress, perKey, maxBodies int
	patience                                  time.Duration
	crowd                                     func(netip.Prefix) int // times perAddress, and perKey of those who return

	mu        sync.Mutex
	unlocated class              // from listed proxies, which have not said yet for whom
	returning class              // in their handshake, from where a proved caller is at home
	unproved  class              // the others whose caller is not proved
	proved    class              // with a proved key
	keys      map[string][]*conn // of proved, the oldest first
	bodies    *list.List         // of unproved, those whose body is being read, the oldest first
}

// class is the connections of one class.
type class struct {
	n         int
	addresses map[netip.Prefix]int
	waiting   *list.List // the longest wait first
}

// seat is a connection's seat in the table, which alone changes it.
type seat struct {
	class   *class        // nil: it is closed
	group   netip.Prefix  // as what its caller's address counts
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
	l, empty := c.Limits, func() class { return class{addresses: map[netip.Prefix]int{}, waiting: list.New()} }
	return &table{
		max: l.Connections, share: l.share(l.Connections), perAddress: l.ConnectionsPerAddress, perKey: l.ConnectionsPerKey, maxBodies: l.Bodies,
		patience: c.Timeouts.Patience, crowd: c.crowd, unlocated: empty(), returning: empty(), unproved: empty(), proved: empty(),
		keys: map[string][]*conn{}, bodies: list.New(),
	}
}

// add takes in a connection that waits for its handshake, or says why there is no room. from is not valid if a listed proxy has
// still to tell. It returns what it closed for it.
func (t *table) add(c *conn, from netip.Prefix, familiar bool) (closed []displaced, refused Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var into *class
	if from.IsValid() {
		into, closed, refused = t.roomFor(from, familiar)
	} else if into = &t.unlocated; into.n >= t.share && !t.displace(&closed, into.waiting, nil) {
		refused = KindConnections
	}
	if refused == "" && t.all() >= t.max && !t.displaceAny(&closed) {
		refused = KindConnections
	}
	if refused != "" {
		return closed, refused
	}
	c.seat = seat{class: into, group: from, since: time.Now()}
	c.seat.waiting = into.waiting.PushBack(c)
	t.count(c, 1)
	return closed, ""
}

// locate says from where a connection comes, which its proxy has told only now, and as what it counts.
func (t *table) locate(c *conn, addr netip.AddrPort, from netip.Prefix, familiar bool) (closed []displaced, refused Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.addr = addr
	if c.seat.class == nil {
		return nil, ""
	}
	into, closed, refused := t.roomFor(from, familiar)
	if refused != "" {
		return closed, refused
	}
	t.count(c, -1)
	c.seat.group = from
	t.count(c, 1)
	t.move(c, into)
	return closed, ""
}

// identify says at the end of a handshake whether the caller's key is proved. If it is not, it counts as one of any others.
func (t *table) identify(c *conn, proved bool) (closed []displaced, refused Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.seat.class == nil || proved {
		t.reclass(c, proved)
		return nil, ""
	}
	if c.seat.class == &t.returning {
		var into *class
		if into, closed, refused = t.roomFor(c.seat.group, false); refused != "" {
			return closed, refused
		}
		t.move(c, into)
	}
	return closed, ""
}

// roomFor makes room for a connection whose caller is not known yet, and says in which class. Where a proved caller is at home, as
// many of them as a key may have are beyond the share: it may be this caller who returns, and no crowd elsewhere keeps it out.
func (t *table) roomFor(from netip.Prefix, familiar bool) (into *class, closed []displaced, refused Kind) {
	if familiar && t.returning.addresses[from] < t.perKey*t.crowd(from) {
		return &t.returning, nil, ""
	}
	if t.unproved.addresses[from] >= t.perAddress*t.crowd(from) && !t.displace(&closed, t.unproved.waiting, func(c *conn) bool { return c.seat.group == from }) {
		return nil, nil, KindAddress
	}
	if t.unproved.n >= t.share && !t.displace(&closed, t.unproved.waiting, nil) {
		return nil, closed, KindConnections
	}
	return &t.unproved, closed, ""
}

func (t *table) all() int { return t.unlocated.n + t.returning.n + t.unproved.n + t.proved.n }

// displaceAny closes the connection that is missed least.
func (t *table) displaceAny(closed *[]displaced) bool {
	for _, from := range []*class{&t.unproved, &t.unlocated, &t.returning, &t.proved} {
		if t.displace(closed, from.waiting, nil) {
			return true
		}
	}
	return false
}

// displace closes the connection that has waited longest, unless none has waited for long enough.
func (t *table) displace(closed *[]displaced, waiting *list.List, only func(*conn) bool) bool {
	now := time.Now()
	for e := waiting.Front(); e != nil; e = e.Next() {
		c := e.Value.(*conn)
		if now.Sub(c.seat.since) < t.patience {
			return false
		}
		if only == nil || only(c) {
			*closed = append(*closed, displaced{c.addr.Addr(), c.seat.class == &t.proved})
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
	if c.seat.class == nil {
		return
	}
	t.endBody(c)
	if c.seat.waiting != nil {
		c.seat.class.waiting.Remove(c.seat.waiting)
		c.seat.waiting = nil
	}
	t.count(c, -1)
	c.seat.class = nil
}

// count counts a connection in its class, or out of it.
func (t *table) count(c *conn, by int) {
	in := c.seat.class
	in.n += by
	if in.addresses[c.seat.group] += by; in.addresses[c.seat.group] == 0 {
		delete(in.addresses, c.seat.group)
	}
	switch {
	case c.seat.class == &t.proved && by > 0:
		t.keys[c.key] = append(t.keys[c.key], c)
	case c.seat.class == &t.proved:
		if t.keys[c.key] = slices.DeleteFunc(t.keys[c.key], func(other *conn) bool { return other == c }); len(t.keys[c.key]) == 0 {
			delete(t.keys, c.key)
		}
	}
}

// classify puts a connection into the class of its caller. If that makes too many of one proved key, the oldest of them counts as
// one of an unproved caller: it may be one that the caller has lost and not closed.
func (t *table) classify(c *conn, proved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reclass(c, proved)
}

func (t *table) reclass(c *conn, proved bool) {
	into := &t.unproved
	if proved {
		into = &t.proved
	}
	if c.seat.class == nil || c.seat.class == into {
		return
	}
	t.move(c, into)
	if of := t.keys[c.key]; proved && len(of) > t.perKey {
		t.move(of[0], &t.unproved)
	}
}

// disown says that a key is not proved any more. Its connections count as those of an unproved caller.
func (t *table) disown(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range slices.Clone(t.keys[key]) {
		t.move(c, &t.unproved)
	}
}

func (t *table) move(c *conn, into *class) {
	waits := c.seat.waiting != nil
	if waits {
		c.seat.class.waiting.Remove(c.seat.waiting)
	}
	t.endBody(c)
	t.count(c, -1)
	c.seat.class = into
	t.count(c, 1)
	if waits {
		c.seat.waiting = inOrder(into.waiting, c)
	}
}

// inOrder adds a connection behind those that have waited longer.
func inOrder(waiting *list.List, c *conn) *list.Element {
	for e := waiting.Back(); e != nil; e = e.Prev() {
		if !e.Value.(*conn).seat.since.After(c.seat.since) {
			return waiting.InsertAfter(c, e)
		}
	}
	return waiting.PushFront(c)
}

// busy says that a connection's request is in the handler: it is not closed for others.
func (t *table) busy(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.seat.waiting != nil {
		c.seat.class.waiting.Remove(c.seat.waiting)
		c.seat.waiting = nil
	}
}

// rest says that a connection waits for its next request. A request that was refused ends no wait.
func (t *table) rest(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.seat.class != nil && c.seat.waiting == nil {
		c.seat.since = time.Now()
		c.seat.waiting = c.seat.class.waiting.PushBack(c)
	}
}

// beginBody says whether there is room to read a body, until doneBody. A new wait begins.
func (t *table) beginBody(c *conn) (closed []displaced, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.seat.waiting == nil { // closed
		return nil, true
	}
	c.seat.since = time.Now()
	c.seat.class.waiting.MoveToBack(c.seat.waiting)
	if c.seat.class == &t.proved {
		return nil, true
	}
	if t.bodies.Len() >= t.maxBodies && !t.displace(&closed, t.bodies, nil) {
		return nil, false
	}
	c.seat.body = t.bodies.PushBack(c)
	return closed, true
}

func (t *table) doneBody(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endBody(c)
}

func (t *table) endBody(c *conn) {
	if c.seat.body != nil {
		t.bodies.Remove(c.seat.body)
		c.seat.body = nil
	}
}

// relieve closes the connection of an unproved caller that has waited longest, whatever its wait.
func (t *table) relieve() (closed []displaced) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if front := t.unproved.waiting.Front(); front != nil {
		c := front.Value.(*conn)
		closed = append(closed, displaced{c.addr.Addr(), c.seat.class == &t.proved})
		t.drop(c)
		c.cut()
	}
	return closed
}

// closeWaiting closes every connection that waits, except for the rest of a request's body.
func (t *table) closeWaiting() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, waiting := range []*list.List{t.unlocated.waiting, t.returning.waiting, t.unproved.waiting, t.proved.waiting} {
		for e := waiting.Front(); e != nil; {
			c := e.Value.(*conn)
			if e = e.Next(); !c.asks() {
				t.drop(c)
				c.cut()
			}
		}
	}
}

// isReturning says whether a connection is in its handshake, and comes from where a proved caller is at home.
func (t *table) isReturning(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.seat.class == &t.returning
}

func (t *table) isProved(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.seat.class == &t.proved
}

// load is how many connections there are.
func (t *table) load() (unproved, proved int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all() - t.proved.n, t.proved.n
}
