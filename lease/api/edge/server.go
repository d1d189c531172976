package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server is the front of the instance API. Make it with [New].
type Server struct {
	cfg      Config
	listener net.Listener
	tls      *tls.Config

	table     *table
	proved    *proved
	addresses *addresses
	slots     *slots
	gate      *gate

	unprovedLog, provedLog, httpLog *sampled

	handed handover
	serves atomic.Bool
}

// New reads the certificate and listens, so that nothing is left that can fail later. [Server.Serve] closes the listener.
func New(c Config) (*Server, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("instance API: %w", err)
	}
	own, err := newCertificate(c)
	if err != nil {
		return nil, fmt.Errorf("instance API: %w", err)
	}
	listener := c.Listener
	if listener == nil {
		if listener, err = net.Listen("tcp", c.Addr); err != nil {
			return nil, fmt.Errorf("instance API: %w", err)
		}
	}
	return &Server{
		cfg: c, listener: listener, tls: tlsConfig(own),
		table: newTable(c), proved: newProved(c), addresses: newAddresses(c), slots: newSlots(c.Limits), gate: newGate(c.Limits),
		unprovedLog: newSampled(c.Logger), provedLog: newSampled(c.Logger), httpLog: newSampled(c.Logger),
		handed: handover{conns: make(chan net.Conn), closed: make(chan struct{}), addr: listener.Addr()},
	}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Load is what is open at present.
type Load struct {
	UnprovedConnections, ProvedConnections int
	UnprovedRequests, ProvedRequests       int // in the handler
}

// Load tells it.
func (s *Server) Load() (l Load) {
	l.UnprovedConnections, l.ProvedConnections = s.table.load()
	l.UnprovedRequests, l.ProvedRequests = s.slots.load()
	return l
}

// Serve passes requests to the handler until ctx ends. Then it accepts no more, closes connections that wait, answers requests in
// flight for up to [Timeouts.Drain], and returns nil. It serves once.
//
// Errors: if it can no longer accept connections.
func (s *Server) Serve(ctx context.Context, handler http.Handler) error {
	if s.serves.Swap(true) {
		return errors.New("instance API: it serves already")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := s.http(context.WithoutCancel(ctx), handler)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(&s.handed) }()

	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })() // accept returns
	failed := s.accept(ctx, stop)
	s.table.closeWaiting()

	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeouts.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil { // too slow
		_ = server.Close()
	}
	if err := <-ended; failed == nil && !errors.Is(err, http.ErrServerClosed) {
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("instance API: %w", failed)
	}
	return nil
}

func (s *Server) http(ctx context.Context, handler http.Handler) *http.Server {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Server{
		Handler:           s.admit(handler),
		Protocols:         http1,
		ReadHeaderTimeout: s.cfg.Timeouts.Header,
		ReadTimeout:       s.cfg.Timeouts.Write, // for what net/http reads when it refuses a request by itself
		WriteTimeout:      s.cfg.Timeouts.Write,
		IdleTimeout:       s.cfg.Timeouts.Idle,
		MaxHeaderBytes:    s.cfg.Limits.HeaderBytes - slop,
		ErrorLog:          log.New(s.httpLog, "", 0), //nolint:forbidigo // it writes to the injected logger, sampled

		DisableGeneralOptionsHandler: true,

		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			if c, is := c.(*conn); is {
				c.state(state)
			}
		},
	}
}

// accept takes connections until ctx ends or that fails, and hands each over once its caller is known. When it returns, it has
// stopped ctx, and no more are handed over.
func (s *Server) accept(ctx context.Context, stop context.CancelFunc) error {
	var opening sync.WaitGroup
	defer opening.Wait()
	defer stop() // cuts handshakes short
	for pause := time.Duration(0); ; {
		raw, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = raw.Close()
			}
			return nil
		case err != nil && !passing(err):
			return fmt.Errorf("accept: %w", err)
		case err != nil: // most likely no file descriptor is left
			s.displaced(s.table.relieve())
			if left, ok := s.httpLog.line(); ok {
				s.cfg.Logger.Warn("cannot accept a connection", "error", err, "left_out", left)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		if c, proxied, ok := s.take(raw); ok {
			opening.Go(func() { s.handOver(ctx, c, proxied) })
		}
	}
}

// passing says whether accepting may work again soon.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (errno.Temporary() || errno == syscall.ECONNABORTED || errno == syscall.ENOBUFS || errno == syscall.ENOMEM)
}

// take makes room for a connection, or closes it.
func (s *Server) take(raw net.Conn) (c *conn, proxied, ok bool) {
	peer, is := raw.RemoteAddr().(*net.TCPAddr)
	if !is {
		_ = raw.Close()
		return nil, false, false
	}
	c = newConn(s, raw, plain(peer.AddrPort()))
	proxied = s.cfg.trusts(c.addr.Addr())
	var from netip.Prefix
	rated, familiar := true, false
	if !proxied {
		rated, from, familiar = s.addresses.connect(c.addr.Addr(), s.cfg.Now())
	}
	kind := KindConnectionRate
	if rated {
		var closed []displaced
		closed, kind = s.table.add(c, from, familiar)
		s.displaced(closed)
	}
	if kind != "" {
		s.refused(kind, c.addr.Addr(), "", false)
		_ = c.Close()
		return nil, false, false
	}
	return c, proxied, true
}

func (s *Server) handOver(ctx context.Context, c *conn, proxied bool) {
	kind, ok := s.open(ctx, c, proxied)
	if ok {
		select {
		case s.handed.conns <- c:
			return
		case <-ctx.Done():
		}
	}
	if kind != "" {
		s.refused(kind, c.addr.Addr(), c.key, false)
	}
	c.cut() // the alert of TLS is sent; another would only take time
	_ = c.Close()
}

func (s *Server) displaced(closed []displaced) {
	for _, d := range closed {
		s.refused(KindDisplaced, d.addr, "", d.proved)
	}
}

// handover is the listener from which net/http gets connections whose caller is known.
type handover struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	addr   net.Addr
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }
