package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/script"
)

// A sidecar whose socket the caller may not use may well run: it is not reported as down.
func TestADeniedUserLearnsThatTheSocketIsNotForThem(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(script.ShortDir(t), "s.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, command := range []string{"status", "release"} {
		code, said := script.Refused(t, "sidecar", command, "--socket", socket)
		if code != cli.ExitRefused || !strings.HasPrefix(said, "sidecar: user id 65534 may not connect to the sidecar's socket "+socket) {
			t.Errorf("%s: exit code %d\n%s", command, code, said)
		}
	}
}
