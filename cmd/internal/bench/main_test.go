//go:build bench

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"lapse/lease/etcd/embedded"
)

// etcdDir, when set, makes the test binary an etcd server process in that directory.
const etcdDir = "LAPSE_BENCH_ETCD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(etcdDir); dir != "" {
		if err := serveEtcd(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if file := os.Getenv(sidecarsFile); file != "" {
		if err := runSidecars(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveEtcd runs an etcd server until it is told to stop.
func serveEtcd(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, err := embedded.Start(ctx, embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// TestBench measures one figure after the other, so that none disturbs another, and prints the table at the end.
func TestBench(t *testing.T) {
	var figures table
	defer figures.print(os.Stdout)
	size := fullSize()
	if os.Getenv("BENCH") == "short" {
		size = shortSize()
	}
	for _, part := range []struct {
		name    string
		measure func(*testing.T, *table, sizes)
	}{
		{"start", measureStart},
		{"sidecar, direct", measureDirect},
		{"sidecar", measureAPI},
		{"idle", measureIdle},
		{"tags", measureTags},
		{"decision", measureDecision},
		{"expiries", measureTerms},
		{"paced", measurePaced},
		{"expiry lag", measureTermEnd},
		{"heartbeat gone", measureGone},
		{"heartbeats", measureHeartbeats},
		{"replicas", measureReplicas},
	} {
		t.Run(part.name, func(t *testing.T) { part.measure(t, &figures, size) })
	}
}
