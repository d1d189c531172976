package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

type connKey struct{}

// request is one on its way to the handler.
type request struct {
	*http.Request

	server *Server
	conn   *conn
	writer http.ResponseWriter
	proved bool
	body   []byte
	unread bool // of the body there may be more
}

// admit passes on what is within the limits. In this order, from cheap to dear: form, rate, requests of the key, body, requests of all.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		c, is := hr.Context().Value(connKey{}).(*conn)
		if !is {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		c.phase.Store(phaseAsked)
		r := &request{Request: hr, server: s, conn: c, writer: w, unread: hr.Body != http.NoBody}
		limiter := s.proved.requests(c.key, s.cfg.Now())
		r.proved = limiter != nil
		s.table.classify(c, r.proved)
		refusal, ok := r.form()
		if ok {
			refusal, ok = r.rate(limiter)
		}
		if !ok {
			r.refuse(refusal)
			return
		}
		if !s.slots.enterKey(c.key) {
			r.refuse(Refusal{KindKeyRequests, http.StatusTooManyRequests, time.Second})
			return
		}
		defer s.slots.leaveKey(c.key)
		if refusal, ok := r.readBody(); !ok {
			if refusal.Kind != "" {
				r.refuse(refusal)
			}
			return
		}
		if kind := s.slots.enter(r.proved); kind != "" {
			r.refuse(Refusal{kind, http.StatusServiceUnavailable, soon()})
			return
		}
		defer s.slots.leave(r.proved)
		r.handle(next)
	})
}

// soon spreads those who ask again.
func soon() time.Duration { return time.Duration(1+rand.IntN(3)) * time.Second } //nolint:gosec // no secret

// form refuses what no handler needs to see.
func (r *request) form() (Refusal, bool) {
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return Refusal{KindHTTPVersion, http.StatusHTTPVersionNotSupported, 0}, false
	case r.ContentLength > r.server.cfg.Limits.BodyBytes:
		return Refusal{KindBodySize, http.StatusRequestEntityTooLarge, 0}, false
	}
	return Refusal{}, true
}

// rate counts the request: a proved one for its key, an unproved one for its address.
func (r *request) rate(ofKey *rate.Limiter) (Refusal, bool) {
	limiter, kind, now := ofKey, KindProvedRate, r.server.cfg.Now()
	if !r.proved {
		limiter, kind = r.server.addresses.ask(r.conn.addr.Addr(), now), KindUnprovedRate
	}
	if limiter.AllowN(now, 1) {
		return Refusal{}, true
	}
	wait := (1 - limiter.TokensAt(now)) / float64(limiter.Limit()) // infinite if nothing is ever allowed again
	return Refusal{kind, http.StatusTooManyRequests, time.Duration(math.Ceil(min(max(wait, 1), 3600))) * time.Second}, false
}

// readBody reads the body, for up to [Timeouts.Body]. It refuses with no kind if the connection was closed here.
func (r *request) readBody() (Refusal, bool) {
	if !r.unread {
		return Refusal{}, true
	}
	s := r.server
	closed, ok := s.table.beginBody(r.conn)
	s.displaced(closed)
	if !ok {
		return Refusal{KindBodies, http.StatusServiceUnavailable, soon()}, false
	}
	defer s.table.doneBody(r.conn)
	_ = http.NewResponseController(r.writer).SetReadDeadline(time.Now().Add(s.cfg.Timeouts.Body)) // of a closed connection alone it fails, and so does the next read
	var err error
	r.body, err = io.ReadAll(http.MaxBytesReader(r.writer, r.Body, s.cfg.Limits.BodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return Refusal{KindBodySize, http.StatusRequestEntityTooLarge, 0}, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Refusal{KindBodyTimeout, http.StatusRequestTimeout, 0}, false
	case errors.Is(err, net.ErrClosed): // to make room: it is counted, and nobody is there to be answered
		return Refusal{}, false
	case err != nil:
		return Refusal{KindBody, http.StatusBadRequest, 0}, false
	}
	r.unread = false // and net/http has lifted the deadline
	return Refusal{}, true
}

// handle passes the request on, without what others say of its origin.
func (r *request) handle(next http.Handler) {
	s := r.server
	s.table.busy(r.conn)
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeouts.Handle)
	defer cancel()
	ctx = withCalling(ctx, calling{Caller{r.conn.key, r.conn.addr.Addr()}, func() {
		now := s.cfg.Now()
		at := r.conn.addr.Addr()
		s.addresses.vouch(at, s.proved.vouch(r.conn.key, at, now), now)
		s.table.classify(r.conn, true)
	}, func(key string) {
		s.proved.disown(key)
		s.table.disown(key)
	}})
	clean := r.WithContext(ctx)
	for name := range clean.Header {
		if tellsOrigin(name) {
			clean.Header.Del(name)
		}
	}
	clean.Trailer, clean.TransferEncoding = nil, nil
	if r.Body != http.NoBody {
		clean.Body, clean.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
	}
	next.ServeHTTP(r.writer, clean)
	s.cfg.Counters.Handled(r.proved)
}

// tellsOrigin says whether a header claims to know who called, or how. Anybody can send it.
func tellsOrigin(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, prefix := range []string{"x-forwarded", "x-original-forwarded", "x-envoy-", "x-amzn-mtls-", "x-ssl-", "client-cert"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "x-originating-ip",
		"true-client-ip", "cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "fastly-client-ip", "fly-client-ip",
		"cloudfront-viewer-address", "x-azure-clientip", "x-appengine-user-ip", "client-ip", "proxy-client-ip", "wl-proxy-client-ip":
		return true
	}
	return false
}

// refuse answers in place of the handler. Of a body that was not read, no more is taken.
func (r *request) refuse(refusal Refusal) {
	s := r.server
	s.refused(refusal.Kind, r.conn.addr.Addr(), r.conn.key, r.proved)
	header := r.writer.Header()
	header.Set("Cache-Control", "no-store")
	if refusal.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(refusal.RetryAfter/time.Second)))
	}
	if r.unread || refusal.Kind == KindHTTPVersion {
		header.Set("Connection", "close")
		_ = http.NewResponseController(r.writer).SetReadDeadline(time.Now())
	}
	s.cfg.Refuse(r.writer, r.Request, refusal)
}
