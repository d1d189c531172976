//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"lapse/lease/etcd/embedded"
)

// etcdDir, when set, makes the test binary an etcd server process in that directory.
const etcdDir = "LAPSE_E2E_ETCD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(etcdDir); dir != "" {
		if err := serveEtcd(dir); err != nil {
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

// build makes the three commands.
func build(t *testing.T) string {
	t.Helper()
	return buildIn(t, ".")
}

// buildIn makes the three commands of the sources there.
func buildIn(t *testing.T, tree string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"lease", "janitor", "sidecar"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, name), "lapse/cmd/"+name)
		build.Dir = tree
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return bin
}
