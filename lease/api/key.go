package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"

	"github.com/google/renameio/v2"
)

// Key reads the instance's key, or makes one. Keep the file where no image, snapshot or backup has it: under /run. Without a file
// the key is kept nowhere.
func Key(file string) (tls.Certificate, error) {
	if file == "" {
		return newKey("")
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(file)
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read the key of this instance: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return tls.Certificate{}, fmt.Errorf("the key of this instance, %s, is no PEM: remove it, and another is made", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return tls.Certificate{}, fmt.Errorf("the key of this instance, %s, is not ECDSA on P-256: remove it, and another is made", file)
	}
	return certificate(private)
}

func newKey(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if file == "" {
		return certificate(key)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := renameio.WriteFile(file, text, 0o600, renameio.IgnoreUmask()); err != nil {
		return tls.Certificate{}, fmt.Errorf("keep the key of this instance: %w", err)
	}
	return certificate(key)
}

// certificate is around a key, which is all that counts of it: TLS carries no bare keys.
func certificate(key *ecdsa.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
