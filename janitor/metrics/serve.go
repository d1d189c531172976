package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Bounds of the HTTP server: whoever asks slowly, or does not read the answer, holds nothing up.
const (
	headerMax   = 5 * time.Second
	requestMax  = 10 * time.Second
	answerMax   = 30 * time.Second
	idleMax     = 2 * time.Minute
	shutdownMax = 3 * time.Second
	headerBytes = 16 << 10
	// connsMax is how many connections are open at once; others wait in the queue of the kernel. The janitor needs its memory
	// and its file descriptors, and whoever reaches the port is not known.
	connsMax = 256
)

// Handler serves /metrics; /healthz, which answers 503 and a sentence if the janitor does not work; and /readyz, which
// does so if it is of no use as it is.
func (e *Exporter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: requestMax,
	}))
	mux.Handle("GET /healthz", probe(e.Live))
	mux.Handle("GET /readyz", probe(e.Ready))
	return mux
}

// probe answers whether something is well.
func probe(trouble func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := trouble(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, err)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}

// Serve serves until ctx ends, and then for as long as answers are under way, but 3 s at most. It closes the listener.
// What goes wrong with single connections is logged.
func (e *Exporter) Serve(ctx context.Context, listener net.Listener, log *slog.Logger) error {
	server := &http.Server{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), // not Go's own, which writes to stderr
		Handler:  e.Handler(), ReadHeaderTimeout: headerMax, ReadTimeout: requestMax, WriteTimeout: answerMax,
		IdleTimeout: idleMax, MaxHeaderBytes: headerBytes,
	}
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownMax)
		defer cancel()
		stopped <- errors.Join(server.Shutdown(last), server.Close())
	})()
	if err := server.Serve(netutil.LimitListener(listener, connsMax)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return <-stopped
}
