package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"lapse/lease/etcd/internal/cafile"
)

// certificates are the TLS of a client that stays up while its files change: authority, certificate and key are read for
// each handshake. Files that cannot be used, as one that is half written, are reported, and the last good ones are used
// until they are whole again: a mistake in a file must not end the heartbeats of a fleet.
//
// It follows each endpoint's own scheme: http:// and unix: have no TLS.
type certificates struct {
	credentials.TransportCredentials // of gRPC, for what does not depend on the files

	caCert, cert, key string
	plain             map[string]bool // host:port of the endpoints that have no TLS
	log               *slog.Logger

	mu   sync.Mutex
	good *tls.Config // as last read
	told string      // the problem that was logged; empty: all is well
}

// certificates reads the files once, to refuse bad ones at the start. It returns nil if no endpoint has TLS.
func (c Config) certificates() (*certificates, error) {
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("the client's certificate and its key go together: give both or neither")
	}
	made := &certificates{
		TransportCredentials: credentials.NewTLS(new(tls.Config)), caCert: c.CACert, cert: c.Cert, key: c.Key,
		plain: map[string]bool{}, log: c.Logger,
	}
	given, secured := c.CACert != "" || c.Cert != "", false
	for _, endpoint := range c.Endpoints {
		scheme, host, hasScheme := strings.Cut(endpoint, "://")
		switch {
		case strings.HasPrefix(endpoint, "unix:"):
		case scheme == "https" || !hasScheme && given:
			secured = true
		case hasScheme:
			made.plain[host] = true
		default:
			made.plain[endpoint] = true
		}
	}
	if !secured {
		return nil, nil
	}
	var err error
	if made.good, err = made.read(); err != nil {
		return nil, fmt.Errorf("read the certificates for etcd: %w", err)
	}
	return made, nil
}

// ClientHandshake reads the files and shakes hands. The server must have a certificate for the host of its endpoint.
func (c *certificates) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.plain[authority] || conn.RemoteAddr().Network() == "unix" {
		return insecure.NewCredentials().ClientHandshake(ctx, authority, conn)
	}
	return credentials.NewTLS(c.current()).ClientHandshake(ctx, authority, conn)
}

// Clone returns c: nothing of it differs from one connection to the next.
func (c *certificates) Clone() credentials.TransportCredentials { return c }

// current is what the files say, or said last.
func (c *certificates) current() *tls.Config {
	config, err := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && err.Error() != c.told:
		c.told = err.Error()
		c.log.Warn("cannot use the certificate files for etcd; using the previous certificates", "error", err)
	case err == nil && c.told != "":
		c.told = ""
		c.log.Info("certificate files for etcd are valid again")
	}
	if err == nil {
		c.good = config
	}
	return c.good
}

// read makes a configuration of the files as they are now.
func (c *certificates) read() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if c.caCert != "" {
		if config.RootCAs, err = cafile.Read(c.caCert); err != nil {
			return nil, err
		}
	}
	if c.cert == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", c.cert, c.key, err)
	}
	// Given even to a server that names other authorities than the issuer: in a rotation both ends have several.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}
