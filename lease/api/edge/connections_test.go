package edge_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

// idle makes a connection that does nothing, and waits until the server has it.
func (c *caller) idle() net.Conn {
	c.Helper()
	before := c.server.Load().UnprovedConnections
	conn, err := c.dial(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close() })
	c.until("the server has the connection", func() bool { return c.server.Load().UnprovedConnections > before })
	return conn
}

func TestConnectionsThatAreTooMany(t *testing.T) {
	t.Parallel()
	type limits = edge.Limits
	for name, test := range map[string]struct {
		limits limits
		from   []string // one connection each that waits
		next   string
		want   edge.Kind
	}{
		"of all, by unproved callers":           {limits{Connections: 8}, []string{"127.0.0.1", "127.0.0.2"}, "127.0.0.3", edge.KindConnections},
		"of an address":                         {limits{ConnectionsPerAddress: 2}, []string{"127.0.0.1", "127.0.0.1"}, "127.0.0.1", edge.KindAddress},
		"of an address in a short time":         {limits{ConnectionRate: edge.Rate{PerSecond: 1e-9, Burst: 2}}, []string{"127.0.0.1", "127.0.0.1"}, "127.0.0.1", edge.KindConnectionRate},
		"from a proxy that names nobody":        {limits{Connections: 8}, []string{proxy, proxy}, proxy, edge.KindConnections},
		"of all, if unproved ones may have all": {limits{Connections: 2, UnprovedShare: 1}, []string{"127.0.0.1", "127.0.0.2"}, "127.0.0.3", edge.KindConnections},
	} {
		t.Run(name+", are refused", func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) { behindProxies(c); c.Limits, c.Timeouts.Patience = test.limits, generous })
			for _, from := range test.from {
				r.caller(from).idle()
			}
			conn, err := r.caller(test.next).dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.cut(conn)
			r.only(test.want, 1)
			if got := r.server.Load().UnprovedConnections; got != 2 {
				t.Errorf("%d are open", got)
			}
			if test.want == edge.KindAddress || test.want == edge.KindConnectionRate {
				r.caller("127.0.0.4").ok()
			}
		})
		if test.want == edge.KindConnectionRate {
			continue
		}
		t.Run(name+", take the place of who waits longest", func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) { behindProxies(c); c.Limits, c.Timeouts.Patience = test.limits, time.Nanosecond })
			other := make(chan struct{})
			var open []net.Conn
			for i, from := range test.from {
				open = append(open, r.caller(from).idle())
				if i > 0 {
					go func() {
						_, _ = open[i].Read(make([]byte, 1))
						close(other)
					}()
				}
			}
			conn, err := r.caller(test.next).dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r.cut(open[0])
			r.only(edge.KindDisplaced, 1)
			select {
			case <-other:
				t.Error("another one is closed, too")
			default:
			}
		})
	}
}

func TestTheRateOfConnectionsBehindAProxyIsOfTheCaller(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { behindProxies(c); c.Limits.ConnectionRate = edge.Rate{PerSecond: 1e-9, Burst: 1} })
	r.caller(proxy, header(t, "203.0.113.5:1", nil)...).ok()
	if r.caller(proxy, header(t, "203.0.113.5:2", nil)...).works() {
		t.Error("a second connection is answered")
	}
	r.await(edge.KindConnectionRate, 1)
	r.caller(proxy, header(t, "203.0.113.6:1", nil)...).ok()
}

func TestAProvedCallerHasAFewConnections(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.ConnectionsPerKey = 2 })
	c := r.proved("127.0.0.1")
	for range 4 {
		conn := c.open()
		if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: api\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		read(t, conn)
	}
	if got, want := r.server.Load(), (edge.Load{UnprovedConnections: 3, ProvedConnections: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.ok() // the oldest one works on, and is one of the two again
	if got, want := r.server.Load(), (edge.Load{UnprovedConnections: 3, ProvedConnections: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestUnprovedCallersMakeRoomFirst(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Connections, c.Timeouts.Patience = 4, time.Nanosecond })
	proved := []*caller{r.proved("127.0.0.1"), r.proved("127.0.0.2"), r.proved("127.0.0.3")}
	unknown := r.caller("127.0.0.4").idle()
	back := r.caller("127.0.0.1")
	back.identity = proved[0].identity // one more connection of a proved caller
	back.ok()
	r.cut(unknown)
	r.only(edge.KindDisplaced, 1)
	for _, c := range proved[1:] {
		c.ok()
	}
	r.only(edge.KindDisplaced, 1)
	if r.counts.ofProved() != 0 {
		t.Error("a connection of a proved caller was closed")
	}
	one := r.proved("127.0.0.5") // all are proved: the one that has waited longest makes room
	r.only(edge.KindDisplaced, 2)
	if one.ok(); r.counts.ofProved() != 1 {
		t.Error("it was not one of a proved caller")
	}
}

func TestAStrangerWhereAProvedCallerIsAtHomeCountsAsAnyOther(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Connections, c.Timeouts.Patience = 8, generous }) // 2 of unproved callers
	r.proved("127.0.0.1")
	r.caller("127.0.0.2").idle()
	r.caller("127.0.0.2").idle()
	if r.caller("127.0.0.1").works() {
		t.Error("a stranger gets in")
	}
	r.only(edge.KindConnections, 1)
	r.until("it is forgotten", func() bool { return r.server.Load() == edge.Load{UnprovedConnections: 2, ProvedConnections: 1} })
}

// short is a listener that has no file descriptor left, at first.
type short struct {
	net.Listener

	fails atomic.Int32
	err   error
}

func (s *short) Accept() (net.Conn, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: s.err}
	}
	return s.Listener.Accept()
}

func TestAcceptingGoesOnWhenDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &short{Listener: listener, err: syscall.EMFILE}
	r := start(t, func(c *edge.Config) { c.Listener = s })
	waiting := r.caller("127.0.0.2").idle()
	s.fails.Store(1)
	if status, _ := r.caller("127.0.0.1").get("/"); status != http.StatusOK { // the accept before it has begun already
		t.Error(status)
	}
	r.caller("127.0.0.1").ok()
	r.cut(waiting)
	r.only(edge.KindDisplaced, 1)
}

func TestASharedAddressHasTheLimitsOfMany(t *testing.T) {
	t.Parallel()
	once := edge.Rate{PerSecond: 1e-9, Burst: 1}
	for name, limits := range map[string]edge.Limits{
		"connections in a short time": {ConnectionRate: once},
		"requests in a short time":    {UnprovedRate: once},
		"connections at once":         {ConnectionsPerAddress: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits.Shared = 3
			r := start(t, func(c *edge.Config) {
				c.SharedFrom, c.Limits, c.Timeouts.Patience = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/31")}, limits, generous
			})
			for from, most := range map[string]int{"127.0.0.1": 1, "127.0.0.2": 3, "127.0.0.3": 3} {
				for n := range most + 1 {
					c := r.caller(from) // whose connection stays open
					if got := c.works(); got != (n < most) {
						t.Errorf("call %d from %s: %t", n+1, from, got)
					}
				}
			}
		})
	}
}
