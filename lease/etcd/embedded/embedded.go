// Package embedded runs etcd inside a process, for a registry on one machine. It serves a unix socket in its directory,
// and TCP if asked to; it has no peers and no JSON gateway.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"lapse/lease/etcd/internal/cafile"
	"lapse/lease/etcd/internal/zaplog"
	"lapse/lease/owndir"
)

// Config of an embedded etcd.
type Config struct {
	Dir    string // absolute or relative; made if it is not there, for the owner and the group
	Listen string // host:port for TCP beside the unix socket; empty for none
	// CertFile and KeyFile secure TCP, and are read again for each connection. With ClientCAFile, which is read at the start
	// alone, only clients with a certificate of that authority are let in. All three are needed beyond loopback, for whoever
	// connects can change every lease.
	CertFile, KeyFile, ClientCAFile string
	NoSync                          bool // never wait for the disk: loses data in a crash, for tests and demonstrations
	Logger                          *slog.Logger
}

// Server is a running etcd.
type Server struct {
	Fresh bool // the directory held no data yet: whatever was known before is not known here

	etcd      *embed.Etcd
	endpoints []string
	lock      *os.File
	closing   sync.Once
}

const (
	readyTimeout  = 30 * time.Second // replaying a large log takes time
	socketName    = "etcd.sock"
	dataDir       = "data"
	socketMode    = 0o660
	dirMode       = 0o750
	maxSocketPath = 107 // bytes; Linux allows 108 with the final NUL (unix(7))
	quota         = 4 << 30
	retention     = "5m" // of old revisions, which only a watch or a listing under way may want
)

// InUseError says that another process keeps the directory.
type InUseError struct{ Dir string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use by another process: connect to its socket, or stop it", e.Dir)
}

// Start runs etcd and returns when it serves. Several processes cannot run the same directory.
//
// Errors: [InUseError]; others say what is wrong with the configuration.
func Start(ctx context.Context, c Config) (*Server, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	c.Dir = dir
	config, err := c.etcd()
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	s := &Server{endpoints: c.endpoints()}
	if s.lock, err = lock(dir); err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	s.Fresh = !Holds(dir)
	if err := s.start(ctx, config, c.socket()); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded etcd: %w", err), s.Close())
	}
	return s, nil
}

// Holds reports whether the directory has the data of an etcd, or may have some that cannot be seen.
func Holds(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataDir, "member"))
	return !errors.Is(err, os.ErrNotExist)
}

// start starts etcd, gives its socket the right mode and waits until it is ready.
func (s *Server) start(ctx context.Context, config *embed.Config, socket string) (err error) {
	if s.etcd, err = embed.StartEtcd(config); err != nil {
		return err
	}
	if err := os.Chmod(socket, socketMode); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case <-s.etcd.Server.ReadyNotify():
		return nil
	case err := <-s.etcd.Err():
		return err
	case <-s.etcd.Server.StopNotify():
		return errors.New("stopped before it was ready")
	case <-ctx.Done():
		return fmt.Errorf("not ready: %w", ctx.Err())
	}
}

// Endpoints to dial, the unix socket first.
func (s *Server) Endpoints() []string { return s.endpoints }

// Done closes when etcd stopped, by [Server.Close] or by itself.
func (s *Server) Done() <-chan struct{} { return s.etcd.Server.StopNotify() }

// Close stops etcd and lets the directory go. It may be called more than once.
func (s *Server) Close() (err error) {
	s.closing.Do(func() {
		if s.etcd != nil {
			s.etcd.Close()
		}
		err = s.lock.Close()
	})
	return err
}

// etcd is the server's own configuration.
func (c Config) etcd() (*embed.Config, error) {
	if len(c.socket()) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is longer than the %d bytes that a unix socket may have; choose a shorter directory",
			c.socket(), maxSocketPath)
	}
	urls := []url.URL{{Scheme: "unix", Path: c.socket()}}
	tcp, err := c.tcp()
	if err != nil {
		return nil, err
	}
	if tcp != nil {
		urls = append(urls, *tcp)
	}
	config := embed.NewConfig()
	config.Name = "lapse"
	config.Dir = filepath.Join(c.Dir, dataDir)
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zaplog.New(c.Logger))
	config.ListenClientUrls, config.AdvertiseClientUrls = urls, urls
	config.ListenPeerUrls = nil // a unix one would be an abstract socket, which has no permissions
	config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:0"}}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	config.AutoCompactionMode, config.AutoCompactionRetention = embed.CompactorModePeriodic, retention
	config.QuotaBackendBytes = quota
	config.UnsafeNoFsync = c.NoSync
	config.ClientTLSInfo = transport.TLSInfo{
		CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.ClientCAFile, ClientCertAuth: c.ClientCAFile != "",
		Logger: zaplog.Warnings(c.Logger), // that the certificate cannot be read any more
	}
	return config, nil
}

// OpenError refuses to listen beyond loopback without access control.
type OpenError struct {
	Listen    string // host:port
	Certified bool   // there is a server certificate, and it is the client authority that is missing
}

func (e *OpenError) Error() string {
	if e.Certified {
		return fmt.Sprintf("will not listen on %s, beyond loopback, without a client authority: whoever connects could change every lease", e.Listen)
	}
	return fmt.Sprintf("will not listen on %s, beyond loopback, without a server certificate and its key", e.Listen)
}

// tcp is the address to listen on beside the socket, if any.
func (c Config) tcp() (*url.URL, error) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a certificate and its key go together: give both or neither")
	}
	if c.ClientCAFile != "" && c.CertFile == "" {
		return nil, errors.New("a client authority needs a server certificate and its key")
	}
	if c.Listen == "" {
		return nil, c.certificates()
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q is not host:port: %w", c.Listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		if c.CertFile == "" {
			return nil, &OpenError{Listen: c.Listen}
		}
		if c.ClientCAFile == "" {
			return nil, &OpenError{Listen: c.Listen, Certified: true}
		}
	}
	scheme := "http"
	if c.CertFile != "" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: c.Listen}, c.certificates()
}

// certificates checks whether they can be read: etcd itself would start without serving TCP.
func (c Config) certificates() error {
	if c.CertFile == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
		return fmt.Errorf("read the server certificate: %w", err)
	}
	if c.ClientCAFile == "" {
		return nil
	}
	if _, err := cafile.Read(c.ClientCAFile); err != nil {
		return fmt.Errorf("read the client authority: %w", err)
	}
	return nil
}

func (c Config) socket() string { return filepath.Join(c.Dir, socketName) }

func (c Config) endpoints() []string {
	list := []string{"unix://" + c.socket()}
	switch {
	case c.Listen != "" && c.CertFile != "":
		list = append(list, "https://"+c.Listen)
	case c.Listen != "":
		list = append(list, "http://"+c.Listen)
	}
	return list
}

// lock makes the directory and keeps other processes out of it, because etcd itself would wait for them forever.
func lock(dir string) (*os.File, error) {
	if err := owndir.Make(dir, dirMode); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &InUseError{Dir: dir}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
