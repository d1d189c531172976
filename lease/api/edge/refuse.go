package edge

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Kind is why a connection or a request is refused. It is a label of metrics: there are few, and none is a caller's text.
type Kind string

// Kinds of refusals. Those of connections close them without an answer.
const (
	KindConnections      Kind = "connections"         // too many, and none can be closed for it
	KindAddress          Kind = "address_connections" // too many of this address
	KindConnectionRate   Kind = "connection_rate"     // too many of this address in a short time
	KindDisplaced        Kind = "displaced"           // closed while it waited, to make room
	KindProxyHeader      Kind = "proxy_header"        // from a listed proxy: missing, not version 2, not TCP, or broken
	KindProxyUnlisted    Kind = "proxy_unlisted"      // a PROXY header from somebody who is no listed proxy
	KindHandshakeTimeout Kind = "handshake_timeout"   // PROXY header and TLS took too long
	KindTLSVersion       Kind = "tls_version"         // no TLS 1.3
	KindClientKey        Kind = "client_key"          // no P-256 key in the certificate
	KindHandshake        Kind = "handshake"           // TLS failed otherwise, as without a certificate
	KindHeaderTimeout    Kind = "header_timeout"      // no request, or not all of its headers in time
	KindHeaderSize       Kind = "header_size"         // 431
	KindHTTP             Kind = "http"                // 400 and others: net/http does not understand the request
	KindHTTPVersion      Kind = "http_version"        // 505: not HTTP/1.1
	KindBodySize         Kind = "body_size"           // 413
	KindBodyTimeout      Kind = "body_timeout"        // 408
	KindBody             Kind = "body"                // 400: the body cannot be read
	KindBodies           Kind = "bodies"              // 503: too many bodies of unproved callers are being read
	KindUnprovedRate     Kind = "unproved_rate"       // 429: too many requests of unproved callers from this address
	KindProvedRate       Kind = "proved_rate"         // 429: too many requests of this key
	KindKeyRequests      Kind = "key_requests"        // 429: too many requests of this key at once
	KindUnprovedRequests Kind = "unproved_requests"   // 503: too many requests of unproved callers at once
	KindRequests         Kind = "requests"            // 503: too many requests at once
)

// Refusal is what is answered instead of the handler.
type Refusal struct {
	Kind       Kind
	Status     int           // of HTTP
	RetryAfter time.Duration // whole seconds; 0: asking again does not help
}

// Counters are told what happens, from many goroutines. They must not block.
type Counters interface {
	Refused(kind Kind, proved bool)
	Handled(proved bool) // the handler has answered a request
}

type uncounted struct{}

func (uncounted) Refused(Kind, bool) {}
func (uncounted) Handled(bool)       {}

// writeProblem writes a refusal that tells no more than its status.
//
// Source: RFC 9457, section 4.2.1
func writeProblem(w http.ResponseWriter, _ *http.Request, refusal Refusal) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(refusal.Status)
	_ = json.NewEncoder(w).Encode(struct { // whoever is refused may be gone
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
	}{"about:blank", http.StatusText(refusal.Status), refusal.Status})
}

// refused counts a refusal, and logs some of them.
func (s *Server) refused(kind Kind, addr netip.Addr, key string, proved bool) {
	s.cfg.Counters.Refused(kind, proved)
	sample := s.unprovedLog
	if proved {
		sample = s.provedLog
	}
	if left, ok := sample.line(); ok {
		s.cfg.Logger.Warn("refused a caller of the instance API", "kind", kind, "address", addr, "key", key, "proved", proved, "left_out", left)
	}
}

// sampled is a log that hostile callers cannot fill.
type sampled struct {
	log *slog.Logger

	mu      sync.Mutex
	limiter *rate.Limiter
	left    int // out, since the last line
}

// newSampled makes a log of three lines at once and six a minute.
func newSampled(log *slog.Logger) *sampled {
	return &sampled{log: log, limiter: rate.NewLimiter(rate.Every(10*time.Second), 3)}
}

// line says whether one may be written now, and how many were left out before it.
func (s *sampled) line() (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.limiter.Allow() {
		s.left++
		return 0, false
	}
	left, s.left = s.left, 0
	return left, true
}

// Write logs what net/http has to say, such as that a handler panicked.
func (s *sampled) Write(text []byte) (int, error) {
	if left, ok := s.line(); ok {
		s.log.Warn("the HTTP server of the instance API reports a problem", "error", string(text), "left_out", left)
	}
	return len(text), nil
}
