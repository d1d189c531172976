package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// today is the wall clock of the socket's tests.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// socketPath returns a path short enough for a socket, reachable by every user.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "s")
}

// serving runs a sidecar on a real socket until the test ends.
func serving(t *testing.T, r *registry, edit func(*Config)) (c *Client, path string, done <-chan error) {
	t.Helper()
	path = socketPath(t)
	held := make(chan struct{}, 1)
	ready := sync.OnceFunc(func() { held <- struct{}{} })
	cfg := Config{
		InstanceID: instance, BootID: "boot-1", SocketPath: path, Now: func() time.Time { return today },
		Logger: slog.New(slog.DiscardHandler),
		Notify: func(text string) {
			if strings.HasPrefix(text, "STATUS=lease valid") || strings.HasPrefix(text, "STATUS=renewing") {
				ready()
			}
		},
	}
	cfg.Open = opened(r, func() time.Time { return cfg.Now() })
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ended <- s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-stopped })
	select {
	case <-held:
	case err := <-ended:
		t.Fatalf("ended at start: %v", err)
	}
	return NewClient(path), path, ended
}

func TestSocketIsForEveryLocalUser(t *testing.T) {
	t.Parallel()
	_, path, _ := serving(t, &registry{}, nil)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSocketsDirectoryIsMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(filepath.Dir(socketPath(t)), "d", "s")
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSecondSidecarIsRefused(t *testing.T) {
	t.Parallel()
	_, path, _ := serving(t, &registry{}, nil)
	r := &registry{}
	s, err := New(Config{
		InstanceID: instance, BootID: "b", SocketPath: path, Open: opened(r, time.Now), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var running *RunningError
	if err := s.Run(t.Context()); !errors.As(err, &running) || !strings.Contains(err.Error(), path) {
		t.Errorf("the second ended with %v", err)
	}
	if len(r.since()) != 0 {
		t.Error("the second has claimed")
	}
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("the first no longer answers: %v", err)
	}
}

func TestExactlyOneOfManyGetsTheSocket(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	leaveStale(t, path)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []net.Listener
	for range 16 {
		wg.Go(func() {
			l, err := listen(t.Context(), path)
			var running *RunningError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, l)
			case !errors.As(err, &running):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d listen on one socket", len(won))
	}
	_ = won[0].Close()
}

// leaveStale leaves a socket that nobody answers, as a killed process does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestTheSocketOfADeadSidecarIsReplaced(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	leaveStale(t, path)
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is left behind")
	}
	if l, err = listen(t.Context(), path); err != nil {
		t.Fatalf("cannot listen again: %v", err)
	}
	_ = l.Close()
}

func TestSocketOfAnotherProgramIsLeft(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	other, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var running *RunningError
	if _, err := listen(t.Context(), path); !errors.As(err, &running) {
		t.Errorf("got %v", err)
	}
}

func TestSocketPathsThatCannotWork(t *testing.T) {
	t.Parallel()
	file := socketPath(t)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                               "is not a socket",
		"/tmp/" + strings.Repeat("x", 110): "longer than 107 bytes",
		file + "/s":                        "not a directory",
		"/nowhere/at/all/s":                "no such file or directory",
	} {
		var refused *SocketError
		if _, err := listen(t.Context(), path); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Error("somebody's file was removed")
	}
}

func TestPeerIsWhoConnected(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	l, err := listen(t.Context(), socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, uid := range []uint32{0, 65534, 1000} {
		client := dialAs(t, l.Addr().String(), uid)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := peerOf(withPeer(t.Context(), server)); got != int64(uid) {
			t.Errorf("peer %d, want %d", got, uid)
		}
		_ = server.Close()
		_ = client.Close()
	}
}

// dialAs connects as another user.
func dialAs(t *testing.T, path string, uid uint32) (conn net.Conn) {
	t.Helper()
	var err error
	asUser(t, uid, func() { conn, err = new(net.Dialer).DialContext(t.Context(), "unix", path) })
	if err != nil {
		t.Fatalf("connect as user %d: %v", uid, err)
	}
	return conn
}

// asUser runs do as another user: on one thread, which ends with it.
func asUser(t *testing.T, uid uint32, do func()) {
	t.Helper()
	done := make(chan syscall.Errno)
	go func() {
		runtime.LockOSThread() // and never unlocked
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		if errno == 0 {
			do()
		}
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		t.Fatalf("become user %d: %v", uid, errno)
	}
}

func TestPeerIsUnknownWithoutAUnixSocket(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if got := userOf(a); got != -1 {
		t.Errorf("user %d, want it unknown", got)
	}
	if got := peerOf(withPeer(t.Context(), a)); got != -1 {
		t.Errorf("peer %d, want it unknown", got)
	}
}

func TestWhoMayRelease(t *testing.T) {
	t.Parallel()
	for uid, want := range map[int64]bool{-1: false, 0: true, int64(os.Getuid()): true, 1235: false, 1 << 32: false} {
		if got := mayRelease(uid); got != want {
			t.Errorf("uid %d: %t", uid, got)
		}
	}
}

func TestAnUnfinishedSocketIsLeft(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	leaveStale(t, path) // nobody answers yet: another sidecar has locked, and has not begun to listen
	lock, err := lockFile(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	var running *RunningError
	if _, err := listen(t.Context(), path); !errors.As(err, &running) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket was taken away: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatalf("the lock outlives its holder: %v", err)
	}
	_ = l.Close()
}
