package ec2sim

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/smallstep/pkcs7"
)

// signers sign identity documents, each Region with a key of its own, as EC2 does. A key is made when it is first needed.
type signers struct {
	mu sync.Mutex
	by map[string]*signer // by region
}

type signer struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

// identityKeyBits is the size of EC2's own keys.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/regions-certs.html
const identityKeyBits = 2048

// of is the signer of a region.
func (s *signers) of(region string) (*signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.by[region]; known != nil {
		return known, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, identityKeyBits)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Country: []string{"US"}, Organization: []string{"ec2sim"}},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if s.by == nil {
		s.by = map[string]*signer{}
	}
	s.by[region] = &signer{key, certificate}
	return s.by[region], nil
}

// sign signs a document as EC2 does: base64 of a PKCS7 message with its content and without certificates.
func (s *signer) sign(document []byte) (string, error) {
	signed, err := pkcs7.NewSignedData(document)
	if err != nil {
		return "", err
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(s.certificate, s.key, pkcs7.SignerInfoConfig{}); err != nil {
		return "", err
	}
	inner, err := asn1.Marshal(*signed.GetSignedData())
	if err != nil {
		return "", err
	}
	message, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{pkcs7.OIDSignedData, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}})
	if err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString(message)
	var lines bytes.Buffer
	for line := range slices.Chunk([]byte(text), 76) {
		lines.Write(append(line, '\n'))
	}
	return lines.String(), nil
}

// IdentityCertificates are the certificates by which the Sim's regions sign identity documents, in PEM, each below a line that
// names its Region.
func (s *Sim) IdentityCertificates() ([]byte, error) {
	var text bytes.Buffer
	for _, region := range slices.Sorted(maps.Keys(s.config.Regions)) {
		signer, err := s.signers.of(region)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&text, "# Region: %s\n%s\n", region, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.certificate.Raw}))
	}
	return text.Bytes(), nil
}
