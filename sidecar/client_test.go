package sidecar

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapse/lease"
)

func TestNoSidecarRuns(t *testing.T) {
	t.Parallel()
	stale := socketPath(t)
	leaveStale(t, stale)
	for name, path := range map[string]string{"no socket": socketPath(t), "a socket of the dead": stale} {
		client := NewClient(path)
		_, status := client.Status(t.Context())
		_, extend := client.Extend(t.Context(), lease.ExtendRequest{For: 1})
		_, release := client.Release(t.Context(), "")
		for _, err := range []error{status, extend, release} {
			if !as[*NotRunningError](err) {
				t.Errorf("%s: %T %v", name, err, err)
			}
		}
	}
	_, err := NewClient(socketPath(t)).Status(t.Context())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not say why", err)
	}
}

func TestInvalidAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"hangs up":          "",
		"no JSON":           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"no error":          "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nhi",
		"not even a status": "220 mail.example.com ESMTP\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := socketPath(t)
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = conn.Write([]byte(answer))
					_ = conn.Close()
				}
			}()
			client := NewClient(path)
			if _, err := client.Status(t.Context()); err == nil || as[*NotRunningError](err) || as[*lease.OutcomeUnknownError](err) {
				t.Errorf("status: %T %v", err, err)
			}
			_, err = client.Extend(t.Context(), lease.ExtendRequest{Until: today})
			var unknown *lease.OutcomeUnknownError
			if !errors.As(err, &unknown) || !unknown.Until.Equal(today) {
				t.Errorf("extend: %T %v", err, err)
			}
			if _, err := client.Release(t.Context(), ""); !as[*lease.OutcomeUnknownError](err) {
				t.Errorf("release: %T %v", err, err)
			}
		})
	}
}

func TestClientMayNotConnect(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can connect as somebody else")
	}
	for name, c := range map[string]struct {
		close func(path string) error
		says  string
	}{
		"a socket of root":    {func(path string) error { return os.Chmod(path, 0o600) }, "its mode was changed"},
		"a directory of root": {func(path string) error { return os.Chmod(filepath.Dir(path), 0o700) }, "may not enter "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, path, _ := serving(t, bound(), nil)
			if err := c.close(path); err != nil {
				t.Fatal(err)
			}
			var failed error
			asUser(t, 65534, func() {
				_, err := dialer(path)(t.Context(), "", "")
				failed = NewClient(path).noAnswer(err)
			})
			var closed *ClosedError
			if !errors.As(failed, &closed) || !strings.Contains(failed.Error(), c.says) || closed.UID != 65534 {
				t.Errorf("%T %v", failed, failed)
			}
		})
	}
}
