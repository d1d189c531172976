package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Phases of a connection.
const (
	phaseNew     = iota // nothing of the first request has come
	phaseIdle           // nothing of the next one has
	phaseHeaders        // something has
	phaseParsed         // net/http has read the headers, or refuses them
	phaseAsked          // the request has reached this package
	phaseRefused        // net/http has refused it, which is counted
)

// conn is one connection. Its TLS is nil until the handshake.
type conn struct {
	*tls.Conn

	server *Server
	raw    net.Conn       // of TCP
	addr   netip.AddrPort // of the caller; of the proxy, until its header has come
	key    string         // of the caller; empty until the handshake is done

	phase  atomic.Int32
	seat   seat // the table's
	closed sync.Once

	gone   chan struct{} // closed by cut
	cutOff sync.Once
}

func newConn(s *Server, raw net.Conn, addr netip.AddrPort) *conn {
	return &conn{server: s, raw: raw, addr: addr, gone: make(chan struct{})}
}

// cut closes the connection at once, with no word to the caller, who may not be reading.
func (c *conn) cut() {
	c.cutOff.Do(func() { close(c.gone) })
	_ = c.raw.Close() // it may be closed already
}

// asks says whether a request has come.
func (c *conn) asks() bool { return c.phase.Load() >= phaseParsed }

// Close closes the connection and forgets it.
func (c *conn) Close() (err error) {
	c.closed.Do(func() {
		c.server.table.remove(c)
		if c.Conn != nil {
			err = c.Conn.Close()
			return
		}
		err = c.raw.Close()
	})
	return err
}

// RemoteAddr is the caller's address, also behind a listed proxy.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.addr) }

// Read notices when a request begins, and when its headers do not come.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.phase.CompareAndSwap(phaseNew, phaseHeaders) {
		c.phase.CompareAndSwap(phaseIdle, phaseHeaders)
	}
	if phase := c.phase.Load(); errors.Is(err, os.ErrDeadlineExceeded) && (phase == phaseNew || phase == phaseHeaders) &&
		c.phase.CompareAndSwap(phase, phaseRefused) {
		c.refused(KindHeaderTimeout)
	}
	return n, err
}

// Write notices what net/http refuses by itself.
func (c *conn) Write(b []byte) (int, error) {
	if c.phase.CompareAndSwap(phaseParsed, phaseRefused) {
		kind := KindHTTP
		if bytes.HasPrefix(b, []byte("HTTP/1.1 431 ")) {
			kind = KindHeaderSize
		}
		c.refused(kind)
	}
	return c.Conn.Write(b)
}

func (c *conn) refused(kind Kind) {
	c.server.refused(kind, c.addr.Addr(), c.key, c.server.table.isProved(c))
}

// state follows what net/http makes of the connection.
func (c *conn) state(now http.ConnState) {
	switch now {
	case http.StateActive:
		if c.phase.Load() != phaseRefused {
			c.phase.Store(phaseParsed)
		}
	case http.StateIdle:
		c.phase.Store(phaseIdle)
		c.server.table.rest(c)
	case http.StateHijacked:
		c.server.table.remove(c)
	case http.StateNew, http.StateClosed:
	}
}

// gone says whether an error means that the other side has left, or this side has closed the connection already.
func gone(err error) bool {
	for _, left := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, left) {
			return true
		}
	}
	return false
}
