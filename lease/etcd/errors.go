package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// minVersion is the oldest etcd to be trusted: older ones let any client renew any etcd lease, and could answer
// "linearizable" reads with stale data.
//
// Source: https://github.com/etcd-io/etcd/blob/main/CHANGELOG/CHANGELOG-3.6.md
const minVersion = "3.6.9"

// VersionError refuses a server that is too old to keep leases.
type VersionError struct {
	Endpoint string
	Version  string // as the server gives it
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("etcd at %s has version %q; upgrade it to %s or newer, because older ones can answer with stale data",
		e.Endpoint, e.Version, minVersion)
}

// UnreachableError says that no endpoint answered.
type UnreachableError struct {
	Endpoints []string
	Err       error // what the last of them said
}

func (e *UnreachableError) Error() string {
	at := strings.Join(e.Endpoints, ", ")
	switch {
	case Denied(e.Err):
		return fmt.Sprintf("etcd at %s refuses this client (%v)", at, e.Err)
	case errors.Is(e.Err, fs.ErrPermission):
		return fmt.Sprintf("not allowed to reach etcd at %s (permission denied): use sudo, or join the group of the socket", at)
	case errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("no etcd at %s (no such socket)", at)
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no etcd listens at %s (connection refused)", at)
	}
	return fmt.Sprintf("no etcd answers at %s (%v)", at, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// AlarmError says that etcd refuses writes or distrusts its own data.
type AlarmError struct{ Alarms []string }

func (e *AlarmError) Error() string {
	return fmt.Sprintf("etcd has raised %s: see `etcdctl alarm list`", strings.Join(e.Alarms, ", "))
}
