package ec2sim

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is a handler that listens. httptest does the same for tests; this is
// for programs that are none, such as the demo.
type Server struct {
	// URL is where it listens, such as http://127.0.0.1:34567.
	URL string

	http *http.Server
	done chan struct{}
}

// Serve serves handler on addr; 127.0.0.1:0 is a free port of the loopback
// interface. Nothing that this package serves should listen anywhere else.
func Serve(handler http.Handler, addr string) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := &Server{
		URL:  "http://" + listener.Addr().String(),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // always ErrServerClosed, after Close
	}()
	return s, nil
}

// Close stops listening and drops all connections. Calls under way see their
// connection end.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}
