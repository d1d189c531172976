package sim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"sync"
	"time"

	"github.com/smallstep/pkcs7"

	"lapse/lease/api/identity"
)

// signer is EC2's key for the identity documents of the region. Nothing that is traced depends on it.
type signer struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

// signing makes the key when it is first needed, once for all schedules: that takes longer than one of them.
var signing = sync.OnceValue(func() signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{key, certificate}
})

func (s signer) known() identity.Certificates {
	return identity.Certificates{region: {s.certificate}}
}

// sign signs a document as EC2 does: base64 of a PKCS7 message with its content and without certificates.
func (s signer) sign(document []byte) (string, error) {
	message, err := pkcs7.NewSignedData(document)
	if err != nil {
		return "", err
	}
	message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := message.AddSigner(s.certificate, s.key, pkcs7.SignerInfoConfig{}); err != nil {
		return "", err
	}
	inner, err := asn1.Marshal(*message.GetSignedData())
	if err != nil {
		return "", err
	}
	whole, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{pkcs7.OIDSignedData, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}})
	return base64.StdEncoding.EncodeToString(whole), err
}
