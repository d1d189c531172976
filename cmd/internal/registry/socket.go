package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"lapse/cmd/internal/cli"
	"lapse/lease/etcd"
)

// mayUse tells who may use a socket, by the first directory of its path that says so, and how the caller becomes one of
// them.
func mayUse(socket, caller string) string {
	at := socket
	info, err := os.Stat(at)
	for errors.Is(err, fs.ErrPermission) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	stat, ok := (*syscall.Stat_t)(nil), false
	if err == nil {
		stat, ok = info.Sys().(*syscall.Stat_t)
	}
	if !ok {
		return "use sudo"
	}
	const groupMay = 0o010 // enter a directory
	may, gid := fs.FileMode(groupMay), strconv.FormatUint(uint64(stat.Gid), 10)
	if !info.IsDir() {
		may = 0o020 // write to a socket
	}
	group, err := user.LookupGroupId(gid)
	if info.Mode()&may == 0 || stat.Gid == 0 || err != nil {
		return "its owner and root may; use sudo"
	}
	return fmt.Sprintf("root and the members of group %s may; use sudo, or `sudo usermod -aG %s %s` and log in again", group.Name, group.Name, caller)
}

// socketRefusal is the error for the first unix socket among endpoints, if the caller may not use it: its etcd may well
// run.
func socketRefusal(err error) error {
	unreachable, ok := errors.AsType[*etcd.UnreachableError](err)
	if !ok || !errors.Is(unreachable.Err, fs.ErrPermission) {
		return err
	}
	for _, endpoint := range unreachable.Endpoints {
		if path, isUnix := strings.CutPrefix(endpoint, "unix:"); isUnix {
			socket := "/" + strings.TrimLeft(path, "/")
			return cli.WithCode(cli.ExitMissing, fmt.Errorf("not allowed to use etcd's socket %s: %s", socket, mayUse(socket, cli.User())))
		}
	}
	return err
}

// NarrowUmask lets only the owner write to the files that this process creates, until they have their
// mode: etcd creates its socket with the umask alone, and whoever can write to a socket can connect.
func NarrowUmask() {
	const others = 0o022
	syscall.Umask(syscall.Umask(0o077) | others)
}
