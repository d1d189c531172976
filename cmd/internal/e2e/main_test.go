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

// etcdDir, when set, makes the test binary an etcd server process in that directory; etcdListen is where that listens with TLS,
// beside its socket, with the certificates that are in the directory.
const etcdDir, etcdListen = "LAPSE_E2E_ETCD_DIR", "LAPSE_E2E_ETCD_LISTEN"

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

// bin is where the present commands are, and built where everything is that the tests build.
var bin, built string

// run makes the present commands, once for all tests.
func run(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "l"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(built) }()
	if bin, err = buildIn("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// serveEtcd runs an etcd server until it is told to stop.
func serveEtcd(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	if config.Listen = os.Getenv(etcdListen); config.Listen != "" {
		config.CertFile, config.KeyFile, config.ClientCAFile = filepath.Join(dir, "etcd.pem"), filepath.Join(dir, "etcd.key"), filepath.Join(dir, "ca.pem")
	}
	server, err := embedded.Start(ctx, config)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// buildIn makes the commands of the sources there. Where there was one sidecar for both ways, it is sidecar-direct.
func buildIn(tree string) (bin string, err error) {
	if bin, err = os.MkdirTemp(built, "bin"); err != nil {
		return "", err
	}
	packages := []string{"lapse/cmd/lease", "lapse/cmd/janitor", "lapse/cmd/sidecar", "lapse/cmd/sidecar-direct"}
	list := exec.Command("go", "list", "-buildvcs=false", packages[3])
	if list.Dir = tree; list.Run() != nil {
		packages = packages[:3]
		if err := os.Symlink("sidecar", filepath.Join(bin, "sidecar-direct")); err != nil {
			return "", err
		}
	}
	build := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", bin}, packages...)...)
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the commands of %s: %w\n%s", tree, err, out)
	}
	return bin, nil
}
