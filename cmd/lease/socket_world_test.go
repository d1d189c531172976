package main

import (
	"os"
	"strings"
	"testing"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/script"
	"lapse/lease/etcd/embedded"
)

// Whoever is not in the group of etcd's socket is told so, and not that there is no etcd.
func TestADeniedUserLearnsWhoMayUseTheSocket(t *testing.T) {
	t.Parallel()
	dir := script.ShortDir(t)
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, mode := range []os.FileMode{0o755, 0o700} { // the socket forbids it, or its directory does
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		code, said := script.Refused(t, "lease", "list", "--etcd-endpoints", server.Endpoints()[0])
		if code != cli.ExitMissing || !strings.Contains(said, "lease: not allowed to use etcd's socket "+dir) ||
			!strings.Contains(said, ": its owner and root may; use sudo") {
			t.Errorf("%o: exit code %d\n%s", mode, code, said)
		}
	}
}
