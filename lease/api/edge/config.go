package edge

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// Config is what a [Server] is made of.
type Config struct {
	Listener net.Listener // of TCP; nil: listen on Addr
	Addr     string       // host:port

	CertFile, KeyFile string // in PEM; read again when they change

	// ProxyFrom are the addresses of proxies that pass TCP on. Each of their connections must begin with a header of the PROXY
	// protocol, version 2. Nobody else may send one.
	ProxyFrom []netip.Prefix

	// SharedFrom are addresses behind which many callers are: of NAT, or of a proxy that sends no headers. They have the limits of
	// one address [Limits.Shared] times.
	SharedFrom []netip.Prefix

	Limits   Limits
	Timeouts Timeouts

	// Refuse writes the status and the body of a refusal. Headers that go with it are set before. Nil: RFC 9457 problem details
	// with no more than the status.
	Refuse func(http.ResponseWriter, *http.Request, Refusal)

	Counters Counters // nil: nothing is counted
	Logger   *slog.Logger
	Now      func() time.Time // for rates, and for how long a key stays vouched for; nil: time.Now
}

// Limits bound what callers can take. Zero is the default.
type Limits struct {
	Connections           int // at once; 32768
	ConnectionsPerAddress int // at once, of unproved callers; 1024
	ConnectionsPerKey     int // at once, of a proved caller; 4. Its others count as unproved.
	Handshakes            int // that compute at once; half of the processors, at least one
	Requests              int // at once; 1024
	RequestsPerKey        int // at once; 4
	Bodies                int // of unproved callers, being read at once; 256

	// UnprovedShare is the part of Connections and of Requests that unproved callers may take; 0.25.
	UnprovedShare float64

	HeaderBytes int   // of the request line and headers; 8 KiB, at least 5 KiB
	BodyBytes   int64 // 64 KiB

	ConnectionRate Rate // of an address; 100 a second, 1000 at once
	UnprovedRate   Rate // of the requests of an address whose key is unproved; 20 a second, 200 at once
	ProvedRate     Rate // of the requests of a proved key; 20 a second, 100 at once

	Shared    int // times the limits of an address, for one of [Config.SharedFrom]; 50
	Addresses int // whose rates are remembered; 65536
	Keys      int // that are remembered as vouched for; 65536
}

// Rate is how often something may happen.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Timeouts bound how long a caller may take. Zero is the default.
type Timeouts struct {
	Handshake time.Duration // from accept: PROXY header and TLS; 5 s
	Header    time.Duration // of a request, and until the first one begins; 5 s
	Body      time.Duration // 10 s
	Handle    time.Duration // the handler's context ends then; 20 s
	Write     time.Duration // from the headers of a request to the end of its answer, body and handler included; 40 s
	Idle      time.Duration // between requests; 2 min
	Drain     time.Duration // for requests in flight when Serve is to end; 3 s

	Patience time.Duration // how long a waiting connection is safe from making room for another; 1 s
	Vouched  time.Duration // how long a key stays proved after [Vouch]; 1 h
	Reload   time.Duration // the certificate files are read at most this often; 5 s
}

func (c Config) withDefaults() Config {
	l, t := &c.Limits, &c.Timeouts
	for _, d := range []struct {
		set     *int
		initial int
	}{
		{&l.Connections, 32768},
		{&l.ConnectionsPerAddress, 1024},
		{&l.ConnectionsPerKey, 4},
		{&l.Handshakes, max(1, runtime.GOMAXPROCS(0)/2)},
		{&l.Requests, 1024},
		{&l.RequestsPerKey, 4},
		{&l.Bodies, 256},
		{&l.HeaderBytes, 8 << 10},
		{&l.Shared, 50},
		{&l.Addresses, 65536},
		{&l.Keys, 65536},
	} {
		*d.set = cmp.Or(*d.set, d.initial)
	}
	for _, d := range []struct {
		set     *time.Duration
		initial time.Duration
	}{
		{&t.Handshake, 5 * time.Second},
		{&t.Header, 5 * time.Second},
		{&t.Body, 10 * time.Second},
		{&t.Handle, 20 * time.Second},
		{&t.Write, 40 * time.Second},
		{&t.Idle, 2 * time.Minute},
		{&t.Drain, 3 * time.Second},
		{&t.Patience, time.Second},
		{&t.Vouched, time.Hour},
		{&t.Reload, 5 * time.Second},
	} {
		*d.set = cmp.Or(*d.set, d.initial)
	}
	l.UnprovedShare = cmp.Or(l.UnprovedShare, 0.25)
	l.BodyBytes = cmp.Or(l.BodyBytes, 64<<10)
	l.ConnectionRate = cmp.Or(l.ConnectionRate, Rate{100, 1000})
	l.UnprovedRate = cmp.Or(l.UnprovedRate, Rate{20, 200})
	l.ProvedRate = cmp.Or(l.ProvedRate, Rate{20, 100})
	if c.Refuse == nil {
		c.Refuse = writeProblem
	}
	if c.Counters == nil {
		c.Counters = uncounted{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// slop is what net/http reads of a header beyond [http.Server.MaxHeaderBytes].
const slop = 4096

func (c Config) check() error {
	switch {
	case c.Logger == nil:
		return errors.New("no logger")
	case c.CertFile == "" || c.KeyFile == "":
		return errors.New("a certificate and its key are needed: give both files")
	case c.Limits.UnprovedShare < 0 || c.Limits.UnprovedShare > 1:
		return errors.New("the share of unproved callers must be between 0 and 1")
	case c.Limits.HeaderBytes <= slop:
		return errors.New("a limit of 4096 header bytes or fewer cannot be kept")
	}
	for _, p := range slices.Concat(c.ProxyFrom, c.SharedFrom) {
		if !p.IsValid() {
			return errors.New("a network of proxies, or of shared addresses, is not valid")
		}
	}
	return nil
}

// share is the part of n that unproved callers may take: at least one.
func (l Limits) share(n int) int { return max(1, int(l.UnprovedShare*float64(n))) }

// limiter allows times as much.
func (r Rate) limiter(times int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(r.PerSecond*float64(times)), r.Burst*times)
}

// crowd is how many times the limits of one address are those of this one.
func (c Config) crowd(at netip.Prefix) int {
	for _, p := range c.SharedFrom {
		if p.Contains(at.Addr()) {
			return c.Limits.Shared
		}
	}
	return 1
}

// trusts says whether a peer is a proxy, whose header says who calls.
func (c Config) trusts(peer netip.Addr) bool {
	for _, p := range c.ProxyFrom {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
