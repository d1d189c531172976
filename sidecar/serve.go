package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"lapse/lease"
	"lapse/lease/problem"
)

const (
	bodyMax    = 4 << 10 // bytes of a request
	requestMax = 10 * time.Second
	stopMax    = 2 * time.Second // for answers under way when the sidecar stops
)

// serve listens on the socket and answers until the function that it returns is called.
//
// Errors: [RunningError], [SocketError].
func (s *Sidecar) serve(ctx context.Context) (stop func(), err error) {
	if s.cfg.SocketPath == "" {
		return func() {}, nil
	}
	l, err := listen(ctx, s.cfg.SocketPath)
	if err != nil {
		return nil, err
	}
	// Requests outlive ctx by stopMax, so that an answer under way is given.
	base := context.WithoutCancel(ctx)
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: requestMax / 2,
		ReadTimeout:       requestMax / 2,
		WriteTimeout:      2 * requestMax,
		IdleTimeout:       requestMax,
		MaxHeaderBytes:    bodyMax,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn), // not Go's own, which writes to stderr
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("stopped serving the socket; still renewing", "socket", s.cfg.SocketPath, "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(base, stopMax)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-done
	}, nil
}

// handler is the socket's interface.
func (s *Sidecar) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(func(context.Context, *http.Request) (any, error) { return s.Status(), nil }))
	mux.Handle("GET /v1/peers", answer(func(ctx context.Context, r *http.Request) (any, error) {
		if r.URL.RawQuery != "" {
			return nil, &lease.LimitError{What: "query", Why: "must be empty: this call has no parameters"}
		}
		return s.peers(ctx)
	}))
	mux.Handle("POST /v1/extend", answer(func(ctx context.Context, r *http.Request) (any, error) {
		var req lease.ExtendRequest
		if err := decodeBody(r, &req); err != nil {
			return nil, err
		}
		return s.extend(ctx, req)
	}))
	mux.Handle("POST /v1/release", answer(func(ctx context.Context, r *http.Request) (any, error) {
		if uid := peerOf(ctx); !mayRelease(uid) {
			return nil, &ForbiddenError{Verb: "release", UID: uid}
		}
		var req ReleaseRequest
		if err := decodeBody(r, &req); err != nil {
			return nil, err
		}
		return s.release(ctx, req)
	}))
	return mux
}

// answer makes a handler of a function: bounded, its result or its error as JSON.
func answer(f func(context.Context, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestMax)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		body, err := f(ctx, r)
		if err != nil {
			problem.Of(err, forbidden()).Write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body) // the caller has gone
	})
}

// decodeBody reads one JSON object without unknown fields. An empty body is an empty object.
func decodeBody(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && !errors.Is(d.Decode(new(json.RawMessage)), io.EOF) {
		err = errors.New("more than one object")
	}
	if err != nil {
		return &lease.LimitError{What: "request body", Why: "must be one JSON object as documented: " + err.Error()}
	}
	return nil
}

type peerKey struct{}

// withPeer notes who made the connection.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if peer, ok := conn.(*peerConn); ok {
		return context.WithValue(ctx, peerKey{}, peer.uid)
	}
	return ctx
}

// peerOf is the user id of whoever asks; -1 if it is not known.
func peerOf(ctx context.Context) int64 {
	if uid, ok := ctx.Value(peerKey{}).(int64); ok {
		return uid
	}
	return -1
}
