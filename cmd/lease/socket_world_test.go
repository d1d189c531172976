package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"lapse/cmd/internal/cli"
	"lapse/lease/etcd/embedded"
)

// Whoever is not in the group of etcd's socket is told so, and not that there is no etcd.
func TestWhoMayNotUseTheSocketIsToldWhoMay(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run a program as somebody else")
	}
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	const nobody = 65534
	for _, mode := range []os.FileMode{0o755, 0o700} { // the socket forbids it, or its directory does
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		program := &exec.Cmd{
			Path: "/proc/self/exe", Args: []string{"lease", "list", "--etcd-endpoints", server.Endpoints()[0]}, // where it lies is root's alone
			SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
		}
		said, err := program.CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		if exit == nil || exit.ExitCode() != cli.ExitMissing ||
			!strings.Contains(string(said), "lease: not allowed to use etcd's socket "+dir) ||
			!strings.Contains(string(said), ": its owner and root may; use sudo") {
			t.Errorf("%o: %v\n%s", mode, err, said)
		}
	}
}
