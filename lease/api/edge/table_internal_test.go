package edge

import (
	"container/list"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTheTableAddsUp does to connections, at random, what can happen to them, and counts again what the table counts.
func TestTheTableAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Limits: Limits{Connections: 12, ConnectionsPerAddress: 3, ConnectionsPerKey: 2, Bodies: 2, UnprovedShare: 0.5}}
		c.Timeouts.Patience = rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Hour}).Draw(t, "patience")
		table := newTable(c)
		var all []*conn
		addr := func() netip.AddrPort {
			return netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:1", rapid.IntRange(1, 4).Draw(t, "address")))
		}
		one := func(t *rapid.T) *conn {
			if len(all) == 0 {
				t.Skip()
			}
			return rapid.SampledFrom(all).Draw(t, "connection")
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				near, far := net.Pipe()
				_ = far.Close()
				c := newConn(nil, near, addr())
				if _, refused := table.add(c, group(c.addr.Addr()), rapid.Bool().Draw(t, "familiar")); refused == "" {
					all = append(all, c)
				}
			},
			"add one of a proxy": func(*rapid.T) {
				near, far := net.Pipe()
				_ = far.Close()
				c := newConn(nil, near, netip.AddrPort{})
				if _, refused := table.add(c, netip.Prefix{}, false); refused == "" {
					all = append(all, c)
				}
			},
			"locate": func(t *rapid.T) {
				if c := one(t); c.seat.class == &table.unlocated {
					at := addr()
					if _, refused := table.locate(c, at, group(at.Addr()), rapid.Bool().Draw(t, "familiar")); refused != "" {
						table.remove(c)
					}
				}
			},
			"identify": func(t *rapid.T) {
				if c := one(t); c.key == "" && c.seat.class != &table.unlocated {
					c.key = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
					if _, refused := table.identify(c, rapid.Bool().Draw(t, "proved")); refused != "" {
						table.remove(c)
					}
				}
			},
			"classify": func(t *rapid.T) {
				if c := one(t); c.key != "" {
					table.classify(c, rapid.Bool().Draw(t, "proved"))
				}
			},
			"busy": func(t *rapid.T) {
				if c := one(t); c.seat.body == nil {
					table.busy(c)
				}
			},
			"rest":   func(t *rapid.T) { table.rest(one(t)) },
			"remove": func(t *rapid.T) { table.remove(one(t)) },
			"read a body": func(t *rapid.T) {
				if c := one(t); c.key != "" && c.seat.body == nil {
					table.beginBody(c)
				}
			},
			"have read a body": func(t *rapid.T) { table.doneBody(one(t)) },
			"":                 func(t *rapid.T) { addsUp(t, table, all) },
		})
	})
}

func addsUp(t *rapid.T, table *table, all []*conn) {
	t.Helper()
	classes := map[string]*class{"unlocated": &table.unlocated, "returning": &table.returning, "unproved": &table.unproved, "proved": &table.proved}
	for name, class := range classes {
		n, waiting, addresses := 0, 0, map[netip.Prefix]int{}
		for _, c := range all {
			if c.seat.class == class {
				n++
				addresses[c.seat.group]++
				if c.seat.waiting != nil {
					waiting++
				}
			}
		}
		if class.n != n || class.waiting.Len() != waiting || fmt.Sprint(class.addresses) != fmt.Sprint(addresses) {
			t.Errorf("%s are %d, %d of them waiting, %v; counted are %d, %d, %v", name, n, waiting, addresses, class.n, class.waiting.Len(), class.addresses)
		}
		inOrderOfTheirWait(t, name, class.waiting)
	}
	inOrderOfTheirWait(t, "bodies", table.bodies)
	keys := map[string]int{}
	for _, c := range all {
		switch {
		case c.seat.class == &table.proved:
			keys[c.key]++
		case c.seat.class == nil && (c.seat.waiting != nil || c.seat.body != nil):
			t.Error("a closed connection waits")
		}
	}
	for key, n := range keys {
		if n > table.perKey || len(table.keys[key]) != n {
			t.Errorf("key %s has %d, and %d are counted", key, n, len(table.keys[key]))
		}
	}
	if len(table.keys) != len(keys) {
		t.Errorf("keys are %v, want %v", table.keys, keys)
	}
	if table.all() > table.max || table.unlocated.n > table.share || table.bodies.Len() > table.maxBodies {
		t.Errorf("there are %d, %d of them unlocated, and %d bodies", table.all(), table.unlocated.n, table.bodies.Len())
	}
}

func inOrderOfTheirWait(t *rapid.T, name string, waiting *list.List) {
	t.Helper()
	var before time.Time
	for e := waiting.Front(); e != nil; e = e.Next() {
		if since := e.Value.(*conn).seat.since; since.Before(before) {
			t.Errorf("%s are not in the order of their wait", name)
		} else {
			before = since
		}
	}
}

func TestTheLeastRecentlyUsedIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRecent[string, int](2)
	r.add("a", 1)
	r.add("b", 2)
	*r.get("a") = 3
	r.add("c", 4)
	if r.get("b") != nil || r.get("a") == nil || *r.get("a") != 3 || r.get("c") == nil || len(r.all) != 2 || r.order.Len() != 2 {
		t.Errorf("%v", r.all)
	}
	if r.remove("a"); r.get("a") != nil || r.order.Len() != 1 {
		t.Errorf("%v", r.all)
	}
	r.remove("a")
}

func TestKeysWithoutRequestsAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSlots(Limits{RequestsPerKey: 2})
	for _, want := range []bool{true, true, false} {
		if got := s.enterKey("a"); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	s.leaveKey("a")
	s.leaveKey("a")
	if len(s.keys) != 0 {
		t.Errorf("%v", s.keys)
	}
}
