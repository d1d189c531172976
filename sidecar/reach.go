package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	crowdedMax   = 5 * time.Second // for a location in the queue of the socket
	crowdedPause = time.Millisecond
)

// NotRunningError says that no sidecar answers on the socket.
type NotRunningError struct {
	Socket string
	Err    error
}

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("no sidecar answers at %s (%v)", e.Socket, e.Err)
}

// Unwrap returns the cause.
func (e *NotRunningError) Unwrap() error { return e.Err }

// ClosedError says that this user may not connect to the socket. Whether a sidecar runs is not known.
type ClosedError struct {
	Socket string
	UID    int
	Why    string // what is closed to the user, and how it is opened
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("user id %d may not connect to the sidecar's socket %s: %s, or run this command as root", e.UID, e.Socket, e.Why)
}

// CrowdedError says that programs connect to the socket faster than the sidecar accepts. Nothing was asked.
type CrowdedError struct{ Socket string }

func (e *CrowdedError) Error() string {
	return fmt.Sprintf("too many programs connect to the sidecar at %s: stop them, or try again", e.Socket)
}

// brokenError says that the sidecar was reached and did not answer properly.
type brokenError struct{ err error }

func (e *brokenError) Error() string {
	for _, closed := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(e.err, closed) {
			return "the sidecar closed the connection: it stopped, or this user has too many connections open; try again"
		}
	}
	return "the sidecar did not answer: " + e.err.Error()
}

func (e *brokenError) Unwrap() error { return e.err }

// dialer returns what connects to the socket. When the queue of the socket is full, the kernel refuses at once (EAGAIN in
// connect(2)), so it tries again for a while.
func dialer(socket string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		for end := time.Now().Add(crowdedMax); ; {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
				return conn, err
			}
			select {
			case <-time.After(crowdedPause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// noAnswer says what it means that a request got no answer.
func (c *Client) noAnswer(err error) error {
	dial, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || dial.Op != "dial":
		return &brokenError{err}
	case errors.Is(err, syscall.EAGAIN):
		return &CrowdedError{Socket: c.socket}
	case errors.Is(err, fs.ErrPermission):
		return &ClosedError{Socket: c.socket, UID: os.Geteuid(), Why: closed(c.socket)}
	}
	return &NotRunningError{Socket: c.socket, Err: dial.Err}
}

// closed says what keeps this user from the socket: a directory on the way, or the socket itself.
func closed(socket string) string {
	path := socket
	_, err := os.Stat(path)
	for errors.Is(err, fs.ErrPermission) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		_, err = os.Stat(path)
	}
	if path == socket {
		return fmt.Sprintf("it is for every local user, but its mode was changed; restart the sidecar, or `chmod 666 %s`", socket)
	}
	return fmt.Sprintf("it is for every local user, but this one may not enter %s; `chmod a+x %s`", path, path)
}
