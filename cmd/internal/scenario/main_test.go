//go:build e2e

package scenario

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
const etcdDir = "LAPSE_SCENARIO_ETCD_DIR"

// bin is where the commands are.
var bin string

func TestMain(m *testing.M) {
	if dir := os.Getenv(etcdDir); dir != "" {
		if err := serveEtcd(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

// run makes the commands, once for all scenarios.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	for _, name := range []string{"lease", "janitor", "sidecar"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, name), "lapse/cmd/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// serveEtcd runs an etcd server until it is told to stop. What it has written survives it, but not the machine.
func serveEtcd(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, err := embedded.Start(ctx, embedded.Config{Dir: dir, NoSync: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}
