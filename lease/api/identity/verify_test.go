package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"lapse/lease/api/identity"
)

const (
	here  = "eu-west-1"
	there = "us-east-1"
	ours  = `{"accountId":"123456789012","region":"eu-west-1","availabilityZone":"eu-west-1a","instanceId":"i-0123456789abcdef0","privateIp":"10.0.0.7","pendingTime":"2026-11-01T12:00:00Z","version":"2017-09-30"}`
)

// authority is who signs: a key and its certificate.
type authority struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

// authorities are made once: EC2 in two Regions, one that is about to replace the first, and somebody else.
type authorities struct{ here, next, there, thief authority }

func newAuthority(tb testing.TB, like *x509.Certificate) authority {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"EC2"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if like != nil {
		template.SerialNumber, template.Subject = like.SerialNumber, like.Subject
	}
	return authority{key, certify(tb, template, &key.PublicKey, key)}
}

func certify(tb testing.TB, template *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, by)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}

func newAuthorities(tb testing.TB) (authorities, identity.Certificates) {
	tb.Helper()
	a := authorities{here: newAuthority(tb, nil), next: newAuthority(tb, nil), there: newAuthority(tb, nil)}
	a.thief = newAuthority(tb, a.here.certificate) // with the name and the serial number of EC2's
	return a, identity.Certificates{here: {a.here.certificate, a.next.certificate}, there: {a.there.certificate}}
}

// message is a PKCS7 message in the making.
type message struct {
	t       testing.TB
	content []byte
	digest  asn1.ObjectIdentifier
	signers []authority
	embed   []*x509.Certificate
	detach  bool
}

func (m message) der() []byte {
	m.t.Helper()
	signed, err := pkcs7.NewSignedData(m.content)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.digest == nil {
		m.digest = pkcs7.OIDDigestAlgorithmSHA256
	}
	signed.SetDigestAlgorithm(m.digest)
	for _, by := range m.signers {
		if err := signed.AddSigner(by.certificate, by.key, pkcs7.SignerInfoConfig{}); err != nil {
			m.t.Fatal(err)
		}
	}
	if m.detach {
		signed.Detach()
	}
	inner := *signed.GetSignedData()
	if len(m.embed) > 0 {
		var raw []byte
		for _, certificate := range m.embed {
			raw = append(raw, certificate.Raw...)
		}
		wrapped, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: raw})
		if err != nil {
			m.t.Fatal(err)
		}
		inner.Certificates.Raw = wrapped
	}
	return m.wrap(pkcs7.OIDSignedData, inner)
}

func (m message) wrap(kind asn1.ObjectIdentifier, inner any) []byte {
	m.t.Helper()
	content, err := asn1.Marshal(inner)
	if err != nil {
		m.t.Fatal(err)
	}
	outer, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{kind, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: content}})
	if err != nil {
		m.t.Fatal(err)
	}
	return outer
}

func text(der []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(der)) }

// endless is a message whose two outer elements do not say how long they are, as EC2's do not.
func endless(tb testing.TB, der []byte) []byte {
	tb.Helper()
	var outer struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		tb.Fatal(err)
	}
	kind, err := asn1.Marshal(outer.Type)
	if err != nil {
		tb.Fatal(err)
	}
	zeros := []byte{0, 0}
	inner := append(append([]byte{0xa0, 0x80}, outer.Content.Bytes...), zeros...)
	return append(append(append([]byte{0x30, 0x80}, kind...), inner...), zeros...)
}

func TestADocumentThatEC2SignedIsBelieved(t *testing.T) {
	t.Parallel()
	a, known := newAuthorities(t)
	der := message{t: t, content: []byte(ours), signers: []authority{a.here}}.der()
	wrapped := []byte(strings.Join(strings.SplitAfter(string(text(der)), "A"), "\n"))
	for name, signed := range map[string][]byte{
		"on one line": text(der), "with line breaks": wrapped, "of unknown length": text(endless(t, der)),
		"by the certificate to come": text(message{t: t, content: []byte(ours), signers: []authority{a.next}}.der()),
		"with its certificate":       text(message{t: t, content: []byte(ours), signers: []authority{a.here}, embed: []*x509.Certificate{a.here.certificate}}.der()),
		"beside another certificate": text(message{t: t, content: []byte(ours), signers: []authority{a.here}, embed: []*x509.Certificate{a.thief.certificate}}.der()),
	} {
		d, err := known.Verify(here, signed)
		if err != nil || d.InstanceID != "i-0123456789abcdef0" || d.Account != "123456789012" || d.Region != here || d.PrivateIP != "10.0.0.7" ||
			!d.PendingTime.Equal(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestWhatAnAttackerSends is refused, each for its reason, and quotes nothing of what was sent.
func TestWhatAnAttackerSends(t *testing.T) {
	t.Parallel()
	a, known := newAuthorities(t)
	by := func(who ...authority) message { return message{t: t, content: []byte(ours), signers: who} }
	about := func(content string) []byte {
		return text(message{t: t, content: []byte(content), signers: []authority{a.here}}.der())
	}
	good := by(a.here).der()
	edited := bytes.Replace(good, []byte("i-0123456789abcdef0"), []byte("i-0123456789abcdef1"), 1)
	weak, detached := by(a.here), by(a.here)
	weak.digest, detached.detach = pkcs7.OIDDigestAlgorithmSHA1, true
	strong := by(a.here)
	strong.digest = pkcs7.OIDDigestAlgorithmSHA512
	forged, appended := by(a.thief), by(a.thief)
	forged.embed, appended.embed = []*x509.Certificate{a.thief.certificate}, []*x509.Certificate{a.thief.certificate, a.here.certificate}
	for name, c := range map[string]struct {
		region string
		signed []byte
		why    identity.Refusal
	}{
		"nothing":                                {here, nil, identity.RefusedSize},
		"more than it may have":                  {here, bytes.Repeat([]byte("A"), identity.Max+1), identity.RefusedSize},
		"not base64":                             {here, []byte(ours), identity.RefusedForm},
		"base64 of anything":                     {here, text([]byte(ours)), identity.RefusedForm},
		"base64 for addresses":                   {here, []byte(strings.ReplaceAll(strings.ReplaceAll(string(text(good)), "+", "-"), "/", "_") + "-"), identity.RefusedForm},
		"half of it":                             {here, text(good[:len(good)/2]), identity.RefusedForm},
		"followed by a byte":                     {here, text(append(bytes.Clone(good), 0)), identity.RefusedForm},
		"of unknown length, followed by a byte":  {here, text(append(endless(t, good), 0)), identity.RefusedForm},
		"twice":                                  {here, text(append(bytes.Clone(good), good...)), identity.RefusedForm},
		"nested without end":                     {here, text(bytes.Repeat([]byte{0x30, 0x80}, 6000)), identity.RefusedForm},
		"a length of its own":                    {here, text([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}), identity.RefusedForm},
		"encrypted data":                         {here, text(message{t: t}.wrap(pkcs7.OIDEncryptedData, struct{ Version int }{0})), identity.RefusedForm},
		"plain data":                             {here, text(message{t: t}.wrap(pkcs7.OIDData, []byte(ours))), identity.RefusedForm},
		"signed by nobody":                       {here, text(by().der()), identity.RefusedSigners},
		"signed by two":                          {here, text(by(a.here, a.thief).der()), identity.RefusedSigners},
		"signed twice by EC2":                    {here, text(by(a.here, a.here).der()), identity.RefusedSigners},
		"its content left out":                   {here, text(detached.der()), identity.RefusedForm},
		"SHA-1, with EC2's key":                  {here, text(weak.der()), identity.RefusedDigest},
		"SHA-512, with EC2's key":                {here, text(strong.der()), identity.RefusedDigest},
		"a key that is not RSA":                  {here, text(byECDSA(t)), identity.RefusedDigest},
		"edited beside a good signature":         {here, text(edited), identity.RefusedSignature},
		"self-signed":                            {here, text(by(a.thief).der()), identity.RefusedSignature},
		"self-signed, with its certificate":      {here, text(forged.der()), identity.RefusedSignature},
		"self-signed, with EC2's beside its own": {here, text(appended.der()), identity.RefusedSignature},
		"another Region's key":                   {here, text(by(a.there).der()), identity.RefusedSignature},
		"shown in another Region":                {there, text(good), identity.RefusedSignature},
		"a Region without a certificate":         {"mars-north-1", text(good), identity.RefusedCertificate},
		"no Region":                              {"", text(good), identity.RefusedCertificate},
		"about another Region":                   {here, about(strings.Replace(ours, `"region":"eu-west-1"`, `"region":"us-east-1"`, 1)), identity.RefusedContent},
		"about no Region":                        {here, about(strings.Replace(ours, `"region":"eu-west-1",`, ``, 1)), identity.RefusedContent},
		"about no instance":                      {here, about(strings.Replace(ours, `i-0123456789abcdef0`, ``, 1)), identity.RefusedContent},
		"about a path":                           {here, about(strings.Replace(ours, `i-0123456789abcdef0`, `i-0123/../registry`, 1)), identity.RefusedContent},
		"about no account":                       {here, about(strings.Replace(ours, `123456789012`, `12345`, 1)), identity.RefusedContent},
		"without a date":                         {here, about(strings.Replace(ours, `2026-11-01T12:00:00Z`, ``, 1)), identity.RefusedContent},
		"not JSON":                               {here, about("hello"), identity.RefusedContent},
		"two documents":                          {here, about(ours + ours), identity.RefusedContent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := known.Verify(c.region, c.signed)
			refused, is := errors.AsType[*identity.RefusedError](err)
			if !is || refused.Why != c.why || d != (identity.Document{}) {
				t.Fatalf("%+v, %v; want it refused for its %s", d, err, c.why)
			}
			if strings.Contains(err.Error(), "0123456789") {
				t.Errorf("it is quoted: %v", err)
			}
		})
	}
}

// byECDSA is a document that was signed with a key on a curve.
func byECDSA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	signed, err := pkcs7.NewSignedData([]byte(ours))
	if err != nil {
		t.Fatal(err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(certify(t, template, &key.PublicKey, key), key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	return message{t: t}.wrap(pkcs7.OIDSignedData, *signed.GetSignedData())
}

func TestTheCertificatesOfAWS(t *testing.T) {
	t.Parallel()
	known, err := identity.AWS()
	if err != nil || len(known) != 39 {
		t.Fatalf("%d Regions, %v", len(known), err)
	}
	seen := map[string]string{}
	for region, all := range known {
		for _, certificate := range all {
			public, is := certificate.PublicKey.(*rsa.PublicKey)
			if !is || public.N.BitLen() != 2048 || time.Now().After(certificate.NotAfter) {
				t.Errorf("%s: %s of %d bits, until %s", region, certificate.PublicKeyAlgorithm, public.N.BitLen(), certificate.NotAfter)
			}
			if other := seen[string(certificate.Raw)]; other != "" {
				t.Errorf("%s and %s have the same", region, other)
			}
			seen[string(certificate.Raw)] = region
		}
	}
}

func TestAFileAddsCertificates(t *testing.T) {
	t.Parallel()
	known, err := identity.AWS()
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, nil)
	pem := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(a.certificate.Raw) + "\n-----END CERTIFICATE-----\n"
	more, err := identity.Read([]byte("# ours\n\n# Region: " + here + "\n" + pem + "# Region: mars-north-1\n" + pem + pem))
	if err != nil || len(more) != 2 || len(more["mars-north-1"]) != 2 {
		t.Fatalf("%v, %v", more, err)
	}
	both := known.With(more)
	if len(both) != 40 || len(both[here]) != 2 || len(known[here]) != 1 {
		t.Errorf("%d Regions, %d here; before that %d here", len(both), len(both[here]), len(known[here]))
	}
	signed := text(message{t: t, content: []byte(ours), signers: []authority{a}}.der())
	if _, err := both.Verify(here, signed); err != nil {
		t.Error(err)
	}
	if _, err := known.Verify(here, signed); err == nil {
		t.Error("a certificate that was added elsewhere counts")
	}
	for name, broken := range map[string]string{
		"no Region": pem, "text": "# Region: a\nhello", "text before": "hello\n# Region: a\n" + pem, "a broken one before another Region's": "# Region: a\n-----BEGIN CERTIFICATE-----\nbroken!\n-----END CERTIFICATE-----\n# Region: b\n" + pem,
		"not a certificate": "# Region: a\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		if got, err := identity.Read([]byte(broken)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if none, err := identity.Read([]byte("# nothing yet\n")); err != nil || len(none) > 0 {
		t.Errorf("%v, %v", none, err)
	}
}

// FuzzVerify: whatever is sent, only what EC2 has signed is believed, and nothing makes it panic.
func FuzzVerify(f *testing.F) {
	a, known := newAuthorities(f)
	good := message{t: f, content: []byte(ours), signers: []authority{a.here}}.der()
	for _, der := range [][]byte{good, endless(f, good), message{t: f, content: []byte(ours), signers: []authority{a.thief}, embed: []*x509.Certificate{a.thief.certificate}}.der(), {0x30, 0x80, 0, 0}, nil} {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		d, err := known.Verify(here, text(der))
		if err == nil && d.InstanceID != "i-0123456789abcdef0" {
			t.Errorf("believed %+v", d)
		}
		if refused, is := errors.AsType[*identity.RefusedError](err); err != nil && (!is || refused.Error() == "") {
			t.Errorf("%v", err)
		}
	})
}
