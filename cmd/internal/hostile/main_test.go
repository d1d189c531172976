//go:build hostile

package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapse/cmd/internal/wallclock"
	"lapse/lease/etcd/embedded"
)

const (
	root = "../../.." // of the module

	// etcdConfig, when set, makes the test binary an etcd server process, so configured.
	etcdConfig = "LAPSE_HOSTILE_ETCD"
	// builtBin, when set, names a directory of commands that cmd/internal/wallclock has made: those of another commit, for example.
	builtBin = "HOSTILE_BIN"
)

// bin is where the commands are: lease, janitor, sidecar, and otherLease, a lease of another version.
var bin string

const otherLease = "other-lease"

func TestMain(m *testing.M) {
	if text := os.Getenv(etcdConfig); text != "" {
		if err := serveEtcd(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

// run builds the commands once for all tests, with wall clocks that follow a file.
func run(m *testing.M) int {
	if bin = os.Getenv(builtBin); bin == "" {
		dir, err := os.MkdirTemp("", "h")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bin = dir
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// build makes all commands at once.
func build() error {
	if err := wallclock.Build(context.Background(), root, bin); err != nil {
		return err
	}
	return buildOther()
}

// buildOther builds a lease that differs from the present one in a tag of the creating call, as those of two versions may.
// It needs no second clock.
func buildOther() error {
	const tag, other = `"lapse:holder"`, `"lapse:for"`
	source, err := filepath.Abs(filepath.Join(root, "lease", "instance.go"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), tag) {
		return errors.New("lease/instance.go no longer names the tag " + tag + ": change another one in buildOther")
	}
	changed, overlay := filepath.Join(bin, "instance.go"), filepath.Join(bin, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(changed, []byte(strings.ReplaceAll(string(text), tag, other)), 0o600),
		os.WriteFile(overlay, replace, 0o600),
	); err != nil {
		return err
	}
	c := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", filepath.Join(bin, otherLease), "./cmd/lease")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", otherLease, err, out)
	}
	return nil
}

// serveEtcd runs an etcd server until it is told to stop. What it has written survives it, but not the machine.
func serveEtcd(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := embedded.Config{}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	config.NoSync, config.Logger = true, slog.New(slog.DiscardHandler)
	server, err := embedded.Start(ctx, config)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// asEtcd is the environment of an etcd server process.
func asEtcd(config embedded.Config) ([]string, error) {
	config.Logger = nil
	text, err := json.Marshal(config)
	return append(os.Environ(), etcdConfig+"="+string(text)), err
}
