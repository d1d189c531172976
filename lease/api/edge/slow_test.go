package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

// slow are ways to hold a connection.
func slow(tb testing.TB) map[string]func(*caller) (net.Conn, error) {
	tb.Helper()
	bare := func(c *caller, text string) (net.Conn, error) {
		conn, err := c.dial(c.Context())
		if err == nil {
			_, err = io.WriteString(conn, text)
		}
		return conn, err
	}
	secured := func(c *caller, text string) (net.Conn, error) {
		conn, err := c.dialTLS(c.Context(), c.config())
		if err == nil {
			_, err = io.WriteString(conn, text)
		}
		return conn, err
	}
	return map[string]func(*caller) (net.Conn, error){
		"nothing after TCP":       func(c *caller) (net.Conn, error) { return bare(c, "") },
		"a hello that never ends": func(c *caller) (net.Conn, error) { return bare(c, "\x16\x03\x01\x02\x00\x01") },
		"nothing from a proxy": func(c *caller) (net.Conn, error) {
			c.from = proxy
			return bare(c, "")
		},
		"a PROXY header that never ends": func(c *caller) (net.Conn, error) {
			c.from = proxy
			return bare(c, string(header(c, "203.0.113.5:1", nil)[:20]))
		},
		"nothing after TLS":      func(c *caller) (net.Conn, error) { return secured(c, "") },
		"headers that never end": func(c *caller) (net.Conn, error) { return secured(c, "GET / HTTP/1.1\r\nHost: api\r\nA: ") },
		"a body that never ends": func(c *caller) (net.Conn, error) {
			return secured(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
		},
		"chunks that never end": func(c *caller) (net.Conn, error) {
			return secured(c, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx")
		},
		"a refusal that it awaits": func(c *caller) (net.Conn, error) {
			return secured(c, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 9\r\n\r\n")
		},
	}
}

// TestWhoeverIsSlowIsCut drips bytes, since no deadline may move with them.
func TestWhoeverIsSlowIsCut(t *testing.T) {
	t.Parallel()
	kinds := map[string]edge.Kind{
		"nothing after TCP": edge.KindHandshakeTimeout, "a hello that never ends": edge.KindHandshakeTimeout, "nothing from a proxy": edge.KindHandshakeTimeout,
		"a PROXY header that never ends": edge.KindHandshakeTimeout, "nothing after TLS": edge.KindHeaderTimeout, "headers that never end": edge.KindHeaderTimeout,
		"a body that never ends": edge.KindBodyTimeout, "chunks that never end": edge.KindBodyTimeout, "a refusal that it awaits": edge.KindHTTP,
	}
	for name, hold := range slow(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const short = 300 * time.Millisecond
			r := start(t, func(c *edge.Config) {
				behindProxies(c)
				c.Timeouts.Header, c.Timeouts.Body = short, short
				if kinds[name] == edge.KindHandshakeTimeout {
					c.Timeouts.Handshake = short
				}
				if kinds[name] == edge.KindHTTP {
					c.Timeouts.Write = short
				}
			})
			conn, err := hold(r.caller("127.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			if name == "headers that never end" || name == "chunks that never end" || name == "a hello that never ends" {
				drip := map[string]string{"headers that never end": "a", "chunks that never end": "\r\n1\r\nx", "a hello that never ends": "\x00"}[name]
				go func() {
					tick := time.NewTicker(short / 20)
					defer tick.Stop()
					for range tick.C {
						if _, err := io.WriteString(conn, drip); err != nil {
							return
						}
					}
				}()
			}
			r.cut(conn)
			r.only(kinds[name], 1)
			r.until("it is forgotten", func() bool { return r.server.Load() == edge.Load{} })
		})
	}
}

// TestSlowCallersKeepNobodyOut lets slow callers take all that they can get, with no time-out that would end it.
func TestSlowCallersKeepNobodyOut(t *testing.T) {
	t.Parallel()
	for name, hold := range slow(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) {
				behindProxies(c)
				c.Limits.Connections, c.Limits.ConnectionsPerAddress, c.Limits.Bodies, c.Limits.Requests = 40, 10, 5, 8 // 10 connections and 2 requests of unproved callers
				c.Timeouts.Patience = 20 * time.Millisecond
			})
			known, lost := r.proved("127.0.0.1"), r.proved("127.0.0.1")
			lost.http.CloseIdleConnections()
			stop, all := make(chan struct{}), sync.WaitGroup{}
			for i := range 30 {
				all.Go(func() {
					for c := r.caller(fmt.Sprintf("127.0.2.%d", 1+i%3)); ; {
						conn, err := hold(c)
						if err == nil {
							_ = conn.SetReadDeadline(time.Now().Add(generous))
							_, _ = conn.Read(make([]byte, 1)) // until the server closes it
							_ = conn.Close()
						}
						select {
						case <-stop:
							return
						case <-time.After(200 * time.Millisecond):
						}
					}
				})
			}
			r.until("all that slow callers can get is taken", func() bool {
				return r.server.Load().UnprovedConnections >= 10 || r.counts.of(edge.KindDisplaced)+r.counts.of(edge.KindBodies)+r.counts.of(edge.KindHTTP) > 30
			})
			for range 20 {
				known.ok() // over its connection
			}
			lost.ok() // gets in again at once
			fresh := r.caller("127.0.0.3")
			r.until("a new caller gets in", fresh.works)
			close(stop)
			r.stop() // closes what they hold
			all.Wait()
		})
	}
}

// works says whether a request is answered.
func (c *caller) works() bool {
	resp, _, err := c.do(http.MethodGet, "/", "", nil)
	return err == nil && resp.StatusCode == http.StatusOK
}

func TestBodiesOfUnprovedCallersAreBounded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		patience time.Duration
		want     edge.Kind
	}{
		"one that has waited is closed for another": {time.Nanosecond, edge.KindDisplaced},
		"one that is new is kept":                   {generous, edge.KindBodies},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) { c.Limits.Bodies, c.Timeouts.Patience = 1, test.patience })
			known := r.proved("127.0.0.1")
			conn, err := slow(t)["a body that never ends"](r.caller("127.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			r.until("its body is being read", func() bool { return r.server.Bodies() == 1 })
			resp, _, err := r.caller("127.0.0.1").do(http.MethodPost, "/", "whole", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == edge.KindBodies {
				if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
					t.Errorf("answered %s", resp.Status)
				}
			} else if r.cut(conn); resp.StatusCode != http.StatusOK {
				t.Errorf("answered %s", resp.Status)
			}
			if resp, _, err := known.do(http.MethodPost, "/", "whole", nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("a proved caller is answered %v, %v", resp, err)
			}
			r.only(test.want, 1)
		})
	}
}

func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.UnprovedRate = edge.Rate{PerSecond: 1e-9, Burst: 1} })
	c := r.caller("127.0.0.1")
	c.ok()
	conn, err := slow(t)["a body that never ends"](c)
	if err != nil {
		t.Fatal(err)
	}
	r.cut(conn)
	r.only(edge.KindUnprovedRate, 1)
}

func TestARequestInTheHandlerMakesNoRoom(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Connections, c.Timeouts.Patience = 4, time.Nanosecond }) // 1 of unproved callers
	held := r.caller("127.0.0.1").hold()
	conn, err := r.caller("127.0.0.2").dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.cut(conn)
	r.only(edge.KindConnections, 1)
	close(r.release)
	if status := <-held; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	next := r.caller("127.0.0.2")
	r.until("the one that was answered makes room", next.works)
}

func TestTheHandlersTimeIsBoundedAndNotThatOfTheBody(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Timeouts.Body, c.Timeouts.Handle = 50*time.Millisecond, 500*time.Millisecond })
	began := time.Now()
	got, _, err := r.caller("127.0.0.1").do(http.MethodPost, "/hold", "whole", nil)
	if err != nil || got.StatusCode != http.StatusOK { // it is not released, so its context has ended
		t.Errorf("%v, %v", got, err)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("its context ended after %s", took)
	}
}

// TestVouchedCallersGetIntoACrowd: five hundred callers without proof take what they can and come back whenever they are closed.
func TestVouchedCallersGetIntoACrowd(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(r *rig, i int) *caller{
		"over TCP": func(r *rig, i int) *caller { return r.caller(fmt.Sprintf("127.0.%d.%d", i>>8, i&0xff)) },
		"behind one proxy": func(r *rig, i int) *caller {
			return r.caller(proxy, header(r, fmt.Sprintf("203.0.%d.%d:1", i>>8, i&0xff), nil)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *edge.Config) {
				behindProxies(c)
				c.Limits.Connections, c.Limits.ConnectionsPerAddress = 1200, 100 // 300 of unproved callers
				c.Timeouts.Patience = 200 * time.Millisecond
			})
			var vouched []*caller
			for i := range 50 {
				c := dial(r, 0x110+i)
				r.enrolled.Store(c.key(), true)
				c.ok()
				c.http.CloseIdleConnections()
				vouched = append(vouched, c)
			}
			stop, all := make(chan struct{}), sync.WaitGroup{}
			for i := range 500 {
				c := dial(r, 0x210+i%20)
				all.Go(func() {
					for {
						if conn, err := c.dial(t.Context()); err == nil {
							_, _ = conn.Read(make([]byte, 1))
							_ = conn.Close()
						}
						select {
						case <-stop:
							return
						case <-time.After(time.Second):
						}
					}
				})
			}
			r.until("there is no room for more of them", func() bool { return r.counts.of(edge.KindConnections)+r.counts.of(edge.KindDisplaced) >= 100 })
			var in sync.WaitGroup
			for _, c := range vouched {
				in.Go(func() {
					for range 5 {
						c.ok() // at the first try
					}
				})
			}
			in.Wait()
			if l := r.server.Load(); l.ProvedConnections != 50 || l.UnprovedConnections > 600 {
				t.Errorf("%+v", l)
			}
			close(stop)
			r.stop()
			all.Wait()
		})
	}
}

// mute is a connection on which nothing comes until it is closed.
type mute struct {
	net.Conn
	closed chan struct{}
}

func (m *mute) Read([]byte) (int, error) {
	<-m.closed
	return 0, net.ErrClosed
}

// TestCallersWhoStallHoldNoTurn has some that say hello and take no answer, and some that say nothing: with one turn for all
// handshakes, others get in at the first try.
func TestCallersWhoStallHoldNoTurn(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *edge.Config) { c.Limits.Handshakes = 1 })
	slow, closed := r.caller("127.0.5.1"), make(chan struct{})
	var stalled sync.WaitGroup
	defer stalled.Wait()
	defer close(closed)
	for range 20 {
		quiet, err := slow.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer quiet.Close()
		conn, err := slow.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stalled.Go(func() {
			defer conn.Close()
			if tls.Client(&mute{conn, closed}, slow.config()).HandshakeContext(t.Context()) == nil {
				t.Error("a handshake without an answer")
			}
		})
	}
	r.until("all are there", func() bool { return r.server.Load().UnprovedConnections == 40 })
	for n := range 5 {
		r.caller(fmt.Sprintf("127.0.6.%d", n)).ok()
	}
}
