package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"time"
)

// opening is a connection during its handshake.
type opening struct {
	net.Conn // of TCP

	read    *bufio.Reader // what came with the PROXY header; nil: nothing is left of it
	proxied bool          // by a listed proxy

	greeted bool // the client has said hello
	tls13   bool // and can speak TLS 1.3

	gate  *gate           // nil: the handshake is over
	end   time.Time       // of the handshake
	done  <-chan struct{} // the connection is closed
	rank  int
	turns int  // that it has had
	in    bool // it has one
}

// Read gives the turn up for as long as the client takes.
func (o *opening) Read(b []byte) (int, error) {
	if o.gate == nil {
		return o.receive(b)
	}
	o.leave()
	n, err := o.receive(b)
	if err != nil {
		return n, err
	}
	if err := o.enter(); err != nil {
		return 0, err
	}
	return n, nil
}

// Write does so, too. No read needs to follow: what the client was asked for, it may have sent in advance.
func (o *opening) Write(b []byte) (int, error) {
	if o.gate == nil {
		return o.Conn.Write(b)
	}
	o.leave()
	n, err := o.Conn.Write(b)
	if err != nil {
		return n, err
	}
	return n, o.enter()
}

func (o *opening) enter() error {
	if err := o.gate.enter(o.rank, o.end, o.done); err != nil {
		return err
	}
	o.in = true
	if o.turns++; o.turns < turnsMax {
		o.rank = rankBegun
	} else {
		o.rank = rankDribbling
	}
	return nil
}

func (o *opening) leave() {
	if o.in {
		o.in = false
		o.gate.leave()
	}
}

// receive reads what has come.
func (o *opening) receive(b []byte) (int, error) {
	if o.read != nil {
		if o.read.Buffered() > 0 {
			return o.read.Read(b)
		}
		o.read = nil
	}
	return o.Conn.Read(b)
}

// open finds out who calls. It says why the connection is refused; empty and false: there is nobody to refuse any more.
//
// One deadline is on all of it, which nothing that comes moves.
func (s *Server) open(ctx context.Context, c *conn, proxied bool) (kind Kind, ok bool) {
	defer context.AfterFunc(ctx, c.cut)()
	end := time.Now().Add(s.cfg.Timeouts.Handshake)
	if err := c.raw.SetDeadline(end); err != nil {
		return "", false
	}
	o := &opening{Conn: c.raw, proxied: proxied, gate: s.gate, rank: rankNew, end: end, done: c.gone}
	if proxied {
		if kind, ok = s.introduce(c, o); !ok {
			return kind, false
		}
	}
	if s.table.isReturning(c) {
		o.rank = rankReturning
	}
	c.Conn = tls.Server(o, s.tls)
	err := c.HandshakeContext(ctx)
	o.leave()
	o.gate = nil
	if err != nil {
		return o.failure(err), false
	}
	key, err := keyOf(c.ConnectionState().PeerCertificates[0]) // there is one: RequireAnyClientCert
	if err != nil {
		return KindClientKey, false
	}
	c.key = key
	if err := c.raw.SetDeadline(time.Time{}); err != nil {
		return "", false
	}
	closed, kind := s.table.identify(c, s.proved.requests(key, s.cfg.Now()) != nil)
	s.displaced(closed)
	return kind, kind == ""
}

// introduce learns from a listed proxy who calls.
func (s *Server) introduce(c *conn, o *opening) (kind Kind, ok bool) {
	o.read = bufio.NewReaderSize(c.raw, 512)
	if _, err := o.read.Peek(1); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return KindHandshakeTimeout, false
		}
		return "", false // a health check that only connects
	}
	addr, err := readProxy(o.read)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return KindHandshakeTimeout, false
	case err != nil && gone(err):
		return "", false
	case err != nil:
		return KindProxyHeader, false
	case !addr.IsValid():
		addr = c.addr // the proxy itself
	}
	rated, from, familiar := s.addresses.connect(addr.Addr(), s.cfg.Now())
	if !rated {
		return KindConnectionRate, false
	}
	closed, kind := s.table.locate(c, addr, from, familiar)
	s.displaced(closed)
	return kind, kind == ""
}

// failure is why a handshake has failed; empty if the client left.
func (o *opening) failure(err error) Kind {
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errKey):
		return KindClientKey
	case errors.Is(err, os.ErrDeadlineExceeded):
		return KindHandshakeTimeout
	case errors.As(err, &record) && beginsProxy(record.RecordHeader[:]) && !o.proxied:
		return KindProxyUnlisted
	case errors.As(err, &record) && beginsProxy(record.RecordHeader[:]):
		return KindProxyHeader
	case errors.Is(err, context.Canceled) || gone(err):
		return ""
	case o.greeted && !o.tls13:
		return KindTLSVersion
	}
	return KindHandshake
}

// tlsConfig is TLS 1.3 for HTTP/1.1, with client certificates of which the key alone counts.
//
// Sessions are not resumed: each connection shows that the caller has its key.
func tlsConfig(own *certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"http/1.1"},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		GetCertificate:         own.get,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if o, is := hello.Conn.(*opening); is {
				o.greeted, o.tls13 = true, slices.Contains(hello.SupportedVersions, tls.VersionTLS13)
			}
			return nil, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := keyOf(state.PeerCertificates[0])
			return err
		},
	}
}
