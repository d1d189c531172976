package edge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
)

// errKey refuses a client's certificate.
var errKey = errors.New("the certificate must have a P-256 key")

// keyOf is the SHA-256 of a certificate's SubjectPublicKeyInfo, in hexadecimal. Nothing else of the certificate counts.
//
// TLS 1.3 has shown that the client has the private key (RFC 8446, section 4.4.3).
//
// Errors: errKey, for other keys and curves, and for a P-256 key that is encoded in another way than the usual one: one key must
// not have two names.
func keyOf(certificate *x509.Certificate) (string, error) {
	key, is := certificate.PublicKey.(*ecdsa.PublicKey)
	if !is || key.Curve != elliptic.P256() {
		return "", errKey
	}
	usual, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || !bytes.Equal(usual, certificate.RawSubjectPublicKeyInfo) {
		return "", errKey
	}
	sum := sha256.Sum256(usual)
	return hex.EncodeToString(sum[:]), nil
}
