package edge

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificate is the server's own. It is read again while the server runs, so that whoever renews it need not restart anything.
// Files that cannot be used, as one of a pair that is half replaced, are logged once, and the last good pair serves on.
type certificate struct {
	certFile, keyFile string
	every             time.Duration
	log               *slog.Logger

	good atomic.Pointer[tls.Certificate]

	reading   sync.Mutex // the rest
	next      time.Time
	cert, key []byte // of the files, as they were read last
	told      string // the problem that was logged; empty: all is well
}

// newCertificate reads the files, to refuse bad ones at the start.
func newCertificate(c Config) (*certificate, error) {
	made := &certificate{certFile: c.CertFile, keyFile: c.KeyFile, every: c.Timeouts.Reload, log: c.Logger}
	if err := made.read(); err != nil {
		return nil, err
	}
	made.next = time.Now().Add(made.every)
	return made, nil
}

// get is the pair for a handshake. One handshake at a time reads the files; the others do not wait for it.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.reading.TryLock() {
		defer c.reading.Unlock()
		if now := time.Now(); !now.Before(c.next) {
			c.next = now.Add(c.every)
			c.reread()
		}
	}
	return c.good.Load(), nil
}

func (c *certificate) reread() {
	err := c.read()
	switch {
	case err != nil && err.Error() != c.told:
		c.told = err.Error()
		c.log.Warn("cannot use the certificate files of the instance API; using the previous certificate", "error", err)
	case err == nil && c.told != "":
		c.told = ""
		c.log.Info("certificate files of the instance API are valid again")
	}
}

// read takes the files' pair into use if they have changed.
func (c *certificate) read() error {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	if c.good.Load() != nil && bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.good.Store(&pair)
	c.cert, c.key = cert, key
	return nil
}
