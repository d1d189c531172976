// Package certtest makes authorities and certificates for tests.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	PEM []byte // its own certificate, as a CA file holds it

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority of that name.
func New(tb testing.TB, name string) Authority {
	tb.Helper()
	template := certificate(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	key, der := sign(tb, template, Authority{cert: template})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return Authority{PEM: pemOf("CERTIFICATE", der), cert: cert, key: key}
}

// Issue writes the certificate and the key of a name, good for both ends of a connection on loopback.
func (a Authority) Issue(tb testing.TB, name, certFile, keyFile string) {
	tb.Helper()
	template := certificate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.IPAddresses, template.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	key, der := sign(tb, template, a)
	bare, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	Write(tb, certFile, pemOf("CERTIFICATE", der))
	Write(tb, keyFile, pemOf("PRIVATE KEY", bare))
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// sign makes a key and the certificate of a template; an authority without a key signs itself.
func sign(tb testing.TB, template *x509.Certificate, by Authority) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if by.key == nil {
		by.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		tb.Fatal(err)
	}
	return key, der
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Write replaces a file by parts, such as the certificates of several authorities.
func Write(tb testing.TB, file string, content ...[]byte) {
	tb.Helper()
	var all []byte
	for _, part := range content {
		all = append(all, part...)
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		tb.Fatal(err)
	}
}
