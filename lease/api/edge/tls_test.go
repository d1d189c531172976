package edge_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"lapse/lease/api/edge"
)

func TestACallerIsKnownByItsKeyAndAddress(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	authority := identity(t, p256(t))
	signed := func(c *caller) {
		template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "i-of-somebody-else"}, NotAfter: time.Now().Add(time.Hour)}
		parent, err := x509.ParseCertificate(authority.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		key := p256(t)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), authority.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		c.identity = tls.Certificate{Certificate: [][]byte{der, authority.Certificate[0]}, PrivateKey: key}
	}
	for name, change := range map[string]func(*caller){
		"with a certificate whose dates are over":            func(*caller) {},
		"with a certificate and a chain that nobody trusts":  signed,
		"with another certificate of a key that it has used": func(c *caller) { c.identity = identity(t, c.identity.PrivateKey.(crypto.Signer)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := r.caller("127.0.0.7")
			want := c.key()
			if change(c); name == "with a certificate and a chain that nobody trusts" {
				want = c.key()
			}
			status, saw := c.get("/")
			if status != http.StatusOK || saw.Key != want || saw.Addr != "127.0.0.7" {
				t.Errorf("%d: %+v, want key %s", status, saw, want)
			}
			if !saw.Deadline {
				t.Error("the handler's context has no deadline")
			}
		})
	}
}

// oddly encodes the key of a certificate in another way that crypto/x509 reads as the same key.
func oddly(t *testing.T, certificate tls.Certificate) tls.Certificate {
	t.Helper()
	var whole struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	var key struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	var fields []asn1.RawValue
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	unmarshal := func(der []byte, into any) {
		t.Helper()
		if _, err := asn1.Unmarshal(der, into); err != nil {
			t.Fatal(err)
		}
	}
	marshal := func(from any) []byte {
		t.Helper()
		der, err := asn1.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	unmarshal(certificate.Certificate[0], &whole)
	unmarshal(whole.TBS.FullBytes, &fields)
	unmarshal(leaf.RawSubjectPublicKeyInfo, &key)
	key.Algorithm = asn1.RawValue{Class: 0, Tag: asn1.TagSequence, IsCompound: true, Bytes: append(key.Algorithm.Bytes, asn1.NullBytes...)}
	for i := range fields {
		if string(fields[i].FullBytes) == string(leaf.RawSubjectPublicKeyInfo) {
			fields[i] = asn1.RawValue{FullBytes: marshal(key)}
		}
	}
	whole.TBS = asn1.RawValue{FullBytes: marshal(fields)}
	return tls.Certificate{Certificate: [][]byte{marshal(whole)}, PrivateKey: certificate.PrivateKey}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key crypto.Signer) func(*tls.Config) {
		return func(c *tls.Config) { c.Certificates = []tls.Certificate{identity(t, key)} }
	}
	odd := oddly(t, identity(t, p256(t)))
	if leaf, err := x509.ParseCertificate(odd.Certificate[0]); err != nil || leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Fatalf("the odd certificate cannot be read, so it shows nothing: %v", err)
	}
	for name, test := range map[string]struct {
		change func(*tls.Config)
		want   edge.Kind
	}{
		"TLS 1.2":                     {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, edge.KindTLSVersion},
		"no certificate":              {func(c *tls.Config) { c.Certificates = nil }, edge.KindHandshake},
		"an RSA key":                  {with(weak), edge.KindClientKey},
		"a P-384 key":                 {with(p384), edge.KindClientKey},
		"an Ed25519 key":              {with(edwards), edge.KindClientKey},
		"a P-256 key under two names": {func(c *tls.Config) { c.Certificates = []tls.Certificate{odd} }, edge.KindClientKey},
		"a certificate of another's key": {func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: identity(t, p256(t)).Certificate, PrivateKey: p256(t)}}
		}, edge.KindHandshake},
		"HTTP/2 alone": {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, edge.KindHandshake},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, nil)
			c := r.caller("127.0.0.1")
			config := c.config()
			test.change(config)
			conn, err := c.dialTLS(t.Context(), config)
			if err == nil { // in TLS 1.3 the client hears of it by reading
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
				if text, err := io.ReadAll(conn); err == nil || len(text) > 0 {
					t.Errorf("answered %q, %v", text, err)
				}
			}
			r.only(test.want, 1)
			r.until("it is forgotten", func() bool { return r.server.Load() == edge.Load{} })
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		conn, err := r.caller("127.0.0.1").dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api\r\n\r\n")
		r.cut(conn)
		r.only(edge.KindHandshake, 1)
	})
	t.Run("a client that leaves is not refused", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		conn, err := r.caller("127.0.0.1").dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		r.until("it is forgotten", func() bool { return r.server.Load() == edge.Load{} })
		if got := r.counts.String(); got != "{}" {
			t.Error(got)
		}
	})
}

func TestOnlyHTTP1IsSpoken(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.caller("127.0.0.1")
	config := c.config()
	config.NextProtos = []string{"h2", "http/1.1"}
	conn, err := c.dialTLS(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if state := conn.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
		t.Errorf("spoken are %q and TLS %#x", state.NegotiatedProtocol, state.Version)
	}
}

func TestNoSessionIsResumed(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.caller("127.0.0.1")
	template, key := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}, p256(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c.identity = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key} // one whose dates are over would not do
	config := c.config()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for range 2 {
		conn, err := c.dialTLS(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
		if text, err := io.ReadAll(conn); err != nil || len(text) == 0 {
			t.Fatalf("%q, %v", text, err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
}
