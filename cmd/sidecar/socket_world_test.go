package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapse/cmd/internal/cli"
)

// A sidecar whose socket the caller may not use may well run: it is not said to be down.
func TestWhoMayNotUseTheSocketIsToldSo(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run a program as somebody else")
	}
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, command := range []string{"status", "release"} {
		program := &exec.Cmd{
			Path: "/proc/self/exe", Args: []string{"sidecar", command, "--socket", socket}, // where it lies is root's alone
			SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
		}
		said, err := program.CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		if exit == nil || exit.ExitCode() != cli.ExitRefused ||
			!strings.HasPrefix(string(said), "sidecar: user id 65534 may not connect to the sidecar's socket "+socket) {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
}
