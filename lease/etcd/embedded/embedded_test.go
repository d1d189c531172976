package embedded_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapse/lease/etcd"
	"lapse/lease/etcd/embedded"
	"lapse/lease/etcd/internal/certtest"
	"lapse/lease/owndir"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
	return server
}

// stop closes what can be closed.
func stop(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestServesASocketForOwnerAndGroupAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortDir(t), "new")
	server := start(t, embedded.Config{Dir: dir})
	if !server.Fresh {
		t.Error("a new directory is not called fresh")
	}
	for path, want := range map[string]fs.FileMode{dir: 0o750, filepath.Join(dir, "etcd.sock"): 0o660} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
}

// Not parallel: it looks at the sockets of this whole process.
func TestListensNowhereElse(t *testing.T) {
	dir := shortDir(t)
	start(t, embedded.Config{Dir: dir})
	for _, address := range listeners(t) {
		if address != filepath.Join(dir, "etcd.sock") {
			t.Errorf("also listens on %s", address)
		}
	}
}

// listeners are the addresses on which this process listens: unix sockets, abstract ones included, and TCP.
func listeners(t *testing.T) []string {
	t.Helper()
	ours := map[string]bool{} // by inode
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			ours[strings.Trim(strings.TrimPrefix(target, "socket:"), "[]")] = true
		}
	}
	var found []string
	for file, column := range map[string]struct{ state, inode, address int }{
		"/proc/net/unix": {3, 6, 7}, "/proc/net/tcp": {3, 9, 1}, "/proc/net/tcp6": {3, 9, 1},
	} {
		table, err := os.ReadFile(file)
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			listens := len(f) > column.address && (f[column.state] == "00010000" || f[column.state] == "0A")
			if listens && ours[f[column.inode]] {
				found = append(found, f[column.address])
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("found no listener at all")
	}
	return found
}

func TestKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	server := start(t, embedded.Config{Dir: dir})
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-server.Done():
	default:
		t.Error("closed, but not done")
	}
	// A crash leaves the socket behind.
	if err := os.WriteFile(filepath.Join(dir, "etcd.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := start(t, embedded.Config{Dir: dir}); again.Fresh {
		t.Error("a directory with data is called fresh")
	}
	resp, err := client.Get(t.Context(), "k")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("after the restart: %v, %v", resp, err)
	}
}

func TestRefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	start(t, embedded.Config{Dir: dir})
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	var inUse *embedded.InUseError
	if !errors.As(err, &inUse) {
		t.Errorf("got %v, want an InUseError", err)
	}
}

func TestRefusesTheDirectoryOfSomebodyElse(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a directory to others")
	}
	dir := shortDir(t)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(dir, "new")} {
		server, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
		if err == nil {
			stop(t, server)
		}
		var unsafe *owndir.Error
		if !errors.As(err, &unsafe) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestServesLoopbackTCPWithoutTLS(t *testing.T) {
	t.Parallel()
	server := start(t, embedded.Config{Dir: shortDir(t), Listen: "127.0.0.1:23791"})
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: server.Endpoints()[1:]})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, client)
}

func TestRefusesWhatCannotBeServedSafely(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	for name, c := range map[string]struct {
		config embedded.Config
		says   string
	}{
		"TCP beyond loopback without TLS":              {embedded.Config{Dir: dir, Listen: "0.0.0.0:2379"}, "beyond loopback"},
		"TCP on every address":                         {embedded.Config{Dir: dir, Listen: ":2379"}, "beyond loopback"},
		"TCP beyond loopback for anybody":              {embedded.Config{Dir: dir, Listen: "0.0.0.0:2379", CertFile: "c", KeyFile: "k"}, "client authority"},
		"the same with an authority that is not there": {embedded.Config{Dir: dir, Listen: "0.0.0.0:2379", CertFile: "c", KeyFile: "k", ClientCAFile: "a"}, "no such file"},
		"an address without a port":                    {embedded.Config{Dir: dir, Listen: "localhost"}, "host:port"},
		"a certificate without a key":                  {embedded.Config{Dir: dir, CertFile: "c"}, "go together"},
		"client authority without TLS":                 {embedded.Config{Dir: dir, ClientCAFile: "c"}, "needs a server certificate"},
		"a path too long for a socket":                 {embedded.Config{Dir: dir + "/" + strings.Repeat("x", 100)}, "shorter directory"},
		"a certificate that is not there":              {embedded.Config{Dir: dir, Listen: "localhost:0", CertFile: "c", KeyFile: "k"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := embedded.Start(t.Context(), c.config)
			if err == nil {
				stop(t, server)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error about %q", err, c.says)
			}
		})
	}
}

// An authority that trusts nobody would lock every instance out.
func TestRefusesAClientAuthorityWithoutCertificates(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "etcd.pem"), filepath.Join(dir, "etcd.key")
	authority := certtest.New(t, "ca")
	authority.Issue(t, "etcd", cert, key)
	for says, content := range map[string][]byte{"contains no certificate": nil, "is cut off": authority.PEM[:len(authority.PEM)/2]} {
		certtest.Write(t, ca, content)
		server, err := embedded.Start(t.Context(), embedded.Config{
			Dir: dir, Listen: "localhost:0", CertFile: cert, KeyFile: key, ClientCAFile: ca,
		})
		if err == nil {
			stop(t, server)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error about %q", err, says)
		}
	}
}

func TestLogsThroughTheLoggerAtDebugLevel(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		var out bytes.Buffer
		server := start(t, embedded.Config{
			Dir: shortDir(t), Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})),
		})
		stop(t, server)
		if got := out.Len() > 0; got != want {
			t.Errorf("at %v: logged %v, want %v", level, got, want)
		}
	}
}
