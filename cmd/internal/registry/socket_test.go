package registry

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapse/cmd/internal/cli"
	"lapse/lease/etcd"
)

func TestWhoMayUseASocket(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const daemon = 1 // its group has that name everywhere
	for mode, want := range map[fs.FileMode]string{
		0o660: "root and the members of group daemon may; use sudo, or `sudo usermod -aG daemon ada` and log in again",
		0o600: "its owner and root may; use sudo",
	} {
		if err := os.Chown(socket, 0, daemon); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(socket, mode); err != nil {
			t.Fatal(err)
		}
		if got := mayUse(socket, "ada"); got != want {
			t.Errorf("%o: %s, want %s", mode, got, want)
		}
	}
	refused := socketRefusal(&etcd.UnreachableError{Endpoints: []string{"unix://" + socket}, Err: fs.ErrPermission})
	if got := refused.Error(); !strings.HasPrefix(got, "not allowed to use etcd's socket "+socket+": ") || cli.ExitCode(refused) != cli.ExitMissing {
		t.Errorf("%d %s", cli.ExitCode(refused), got)
	}
	gone := &etcd.UnreachableError{Endpoints: []string{"unix://" + socket}, Err: fs.ErrNotExist}
	if got := socketRefusal(gone); !errors.Is(got, gone) || got.Error() != gone.Error() {
		t.Errorf("a socket that is not there: %v", got)
	}
}
