package edge_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

// counts are edge.Counters.
type counts struct {
	mu      sync.Mutex
	changed *sync.Cond
	refused map[edge.Kind]int
	proved  int // refusals of proved callers
	handled [2]int
}

func newCounts() *counts {
	c := &counts{refused: map[edge.Kind]int{}}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *counts) Refused(kind edge.Kind, proved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[kind]++
	if proved {
		c.proved++
	}
	c.changed.Broadcast()
}

func (c *counts) Handled(proved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if proved {
		c.handled[1]++
	} else {
		c.handled[0]++
	}
}

func (c *counts) of(kind edge.Kind) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[kind]
}

func (c *counts) ofProved() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proved
}

func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, _ := json.Marshal(c.refused)
	return string(text)
}

// await waits for that many refusals.
func (r *rig) await(kind edge.Kind, n int) {
	r.Helper()
	r.until(string(kind), func() bool { return r.counts.of(kind) >= n })
}

// only fails if anything else was refused.
func (r *rig) only(kind edge.Kind, n int) {
	r.Helper()
	r.await(kind, n)
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	if len(r.counts.refused) != 1 || r.counts.refused[kind] != n {
		r.Errorf("refused are %v, want %d of %s alone", r.counts.refused, n, kind)
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func p256(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// identity is a self-signed certificate of a key. Its dates are long over.
func identity(tb testing.TB, key crypto.Signer) tls.Certificate {
	tb.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// issue writes a certificate for localhost that signs itself, and its key.
func issue(tb testing.TB, certFile, keyFile string) *x509.Certificate {
	tb.Helper()
	key := p256(tb)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "api"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	bare, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: bare}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
