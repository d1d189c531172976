package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease/etcd/internal/zaplog"
)

// Config says where etcd is.
type Config struct {
	Endpoints         []string // host:port, https://host:port or unix:///path
	CACert, Cert, Key string   // files; empty for none
	Logger            *slog.Logger
}

// Bounds of a dial, and of a connection that went dead: a call on it notices within keepAliveTime and its time-out. While
// there is no call, nothing is asked: etcd takes that for abuse, and hangs up on clients that were idle for a minute.
//
// Source: https://github.com/grpc/grpc-go/blob/master/Documentation/keepalive.md and etcd's embed, which forbids pings
// without a stream.
const (
	dialTimeout      = 10 * time.Second
	stragglerTimeout = time.Second // for other endpoints, once one has answered
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	maxSendSize      = 16 << 20 // bytes
)

// Dial returns a client after at least one endpoint has answered, within 10 s. Every endpoint that answers must run an
// etcd that is new enough.
//
// Errors: [UnreachableError], [VersionError].
func Dial(ctx context.Context, c Config) (*clientv3.Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint: give --etcd-endpoints")
	}
	security, err := c.tls()
	if err != nil {
		return nil, err
	}
	if err := probe(ctx, c.Endpoints); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: security, Logger: zaplog.New(c.Logger),
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		MaxCallSendMsgSize: maxSendSize, MaxCallRecvMsgSize: math.MaxInt32,
	})
	if err != nil {
		return nil, fmt.Errorf("dial etcd: %w", err)
	}
	if err := checkVersions(ctx, client, c.Endpoints); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// tls reads the certificates, if any. A unix socket is guarded by its permissions and has none.
func (c Config) tls() (*tls.Config, error) {
	if c.CACert == "" && c.Cert == "" && c.Key == "" || allUnix(c.Endpoints) {
		return nil, nil
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("--etcd-cert and --etcd-key go together: give both or neither")
	}
	if err := checkAuthority(c.CACert); err != nil {
		return nil, fmt.Errorf("read the certificates for etcd: %w", err)
	}
	config, err := transport.TLSInfo{TrustedCAFile: c.CACert, CertFile: c.Cert, KeyFile: c.Key}.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the certificates for etcd: %w", err)
	}
	return config, nil
}

// checkAuthority refuses a file without a certificate, of which etcd's own code makes an authority that trusts nobody.
func checkAuthority(file string) error {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", file)
	}
	return nil
}

func allUnix(endpoints []string) bool {
	for _, endpoint := range endpoints {
		if !strings.HasPrefix(endpoint, "unix:") {
			return false
		}
	}
	return true
}

// teller is the part of clientv3.Maintenance that names a server's version.
type teller interface {
	Status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error)
}

// checkVersions asks all endpoints side by side. It waits for the first, and a little longer for the others: those that
// are down are no reason to refuse the rest.
func checkVersions(ctx context.Context, client teller, endpoints []string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	answers := make(chan error, len(endpoints)) // nil, a VersionError, or why there is no answer
	for _, endpoint := range endpoints {
		go func() { answers <- checkVersion(ctx, client, endpoint) }()
	}
	unreachable := &UnreachableError{Endpoints: endpoints}
	answered := false
	for range endpoints {
		err := <-answers
		var old *VersionError
		switch {
		case errors.As(err, &old):
			return err
		case err != nil:
			unreachable.Err = err
		case !answered:
			answered = true
			defer time.AfterFunc(stragglerTimeout, cancel).Stop()
		}
	}
	if !answered {
		return unreachable
	}
	return nil
}

func checkVersion(ctx context.Context, client teller, endpoint string) error {
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	return newEnough(endpoint, status.Version)
}

// newEnough refuses a version that is not to be trusted, with a [VersionError].
func newEnough(endpoint, text string) error {
	version, err := semver.NewVersion(text)
	if err != nil || version.LessThan(*semver.New(minVersion)) {
		return &VersionError{Endpoint: endpoint, Version: text}
	}
	return nil
}
