package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"lapse/lease/owndir"
)

const socketPathMax = 107 // bytes; sockaddr_un holds no more (unix(7))

// RunningError says that another sidecar serves the socket.
type RunningError struct{ Socket string }

func (e *RunningError) Error() string {
	return fmt.Sprintf("another sidecar serves %s: stop it first, or give this one another socket", e.Socket)
}

// SocketError says that the socket cannot be served.
type SocketError struct {
	Socket string
	Err    error
}

func (e *SocketError) Error() string {
	return fmt.Sprintf("cannot serve the socket %s: %v", e.Socket, e.Err)
}

// Unwrap returns the cause.
func (e *SocketError) Unwrap() error { return e.Err }

// listen makes the socket, which every local user may connect to: what a caller may do is decided by its user id. A
// socket that a dead sidecar left is replaced.
//
// Of two sidecars exactly one gets it: each locks a file beside the socket first, and the kernel frees that lock only
// with the process. Nothing else could tell a left socket from one that is just being made.
//
// Errors: [RunningError], [SocketError].
func listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > socketPathMax {
		return nil, &SocketError{path, fmt.Errorf("its path is longer than %d bytes; give a shorter one", socketPathMax)}
	}
	if err := makeDir(filepath.Dir(path)); err != nil { // one in which nobody else can put a link in the place of what follows
		return nil, &SocketError{path, err}
	}
	lock, err := lockFile(path + ".lock")
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &RunningError{path}
	}
	if err != nil {
		return nil, &SocketError{path, err}
	}
	l, err := listenLocked(ctx, path)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &listener{Listener: l, lock: lock, room: newRoom()}, nil
}

func listenLocked(ctx context.Context, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, &SocketError{path, errors.New("a file of that name exists and is not a socket")}
	}
	if err == nil {
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close()
			return nil, &RunningError{path} // it uses no lock: some other program, or another version
		}
		if err := os.Remove(path); err != nil {
			return nil, &SocketError{path, err}
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, &SocketError{path, err}
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // for every local user, whatever the umask
		_ = l.Close()
		return nil, &SocketError{path, err}
	}
	return l, nil
}

// makeDir makes the socket's directory where systemd has not, and refuses one that others can change.
func makeDir(dir string) error {
	if err := owndir.Check(dir, owndir.Socket); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755) //nolint:gosec // every local user may reach the socket in it
	if errors.Is(err, fs.ErrExist) {
		return owndir.Check(dir, owndir.Socket) // somebody may have been quicker
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) //nolint:gosec // whatever the umask
}

// lockFile takes an exclusive lock that ends with the process. In a sticky directory somebody else may have been there
// first, with a link or a file of that name: neither is used.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if info, statErr := os.Lstat(path); statErr == nil && !ours(info) {
		_ = f.Close() // nil, if the kernel refused it by itself
		return nil, fmt.Errorf("%s is a link, or belongs to another user: remove it", path)
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ours reports whether it is a file of root's or this process's user.
func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// listener accepts a bounded number of connections at once, and frees the lock when it is closed.
type listener struct {
	net.Listener
	lock *os.File
	room *room
}

// Accept waits for a connection of a user for whom there is room. Others are closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid := userOf(conn)
		if leave, ok := l.room.enter(uid); ok {
			return &peerConn{Conn: conn, uid: uid, leave: leave}, nil
		}
		_ = conn.Close()
	}
}

// Close removes the socket, then frees the lock.
func (l *listener) Close() error {
	return errors.Join(l.Listener.Close(), l.lock.Close())
}

// peerConn is a connection of a user, who is asked for once: it may have changed hands since.
type peerConn struct {
	net.Conn
	uid   int64
	leave func()
}

// Close gives the room back.
func (c *peerConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// userOf is the user id of the process that made the connection; -1 if the kernel does not say.
func userOf(conn net.Conn) int64 {
	uid, err := peerUID(conn)
	if err != nil {
		return -1
	}
	return int64(uid)
}
