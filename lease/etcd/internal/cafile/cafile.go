// Package cafile reads the certificates of authorities, for etcd's clients and for a server that verifies them. etcd's own
// code takes an empty file for an authority that trusts nobody.
package cafile

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

// Read returns all certificates of a PEM file. One that is cut off or damaged is an error: the rest would be a pool that
// trusts less than the file means to.
func Read(file string) (*x509.CertPool, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		rest = after
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		pool.AddCert(cert)
		found = true
	}
	if strings.Contains(string(rest), "-----BEGIN") {
		return nil, fmt.Errorf("%s is cut off in the middle of a certificate: write it again", file)
	}
	if !found {
		return nil, fmt.Errorf("%s contains no certificate: write the CA certificates into it, in PEM", file)
	}
	return pool, nil
}
