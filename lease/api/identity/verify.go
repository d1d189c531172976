package identity

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/smallstep/pkcs7"
)

// Max is how many bytes a signed document may have. One of AWS has about 1,500; parsing far larger ones can exhaust the stack.
const Max = 16 * 1024

// Document is what EC2 says of an instance.
type Document struct {
	Account     string    `json:"accountId"`
	Region      string    `json:"region"`
	Zone        string    `json:"availabilityZone"`
	InstanceID  string    `json:"instanceId"`
	PrivateIP   string    `json:"privateIp"`
	PendingTime time.Time `json:"pendingTime"` // when the instance was last launched or started
}

// Refusal is why a document is refused.
type Refusal string

// Refusals.
const (
	RefusedSize        Refusal = "size"        // larger than [Max], or empty
	RefusedForm        Refusal = "form"        // not base64 of one PKCS7 message with its content, and nothing after it
	RefusedSigners     Refusal = "signers"     // signed by nobody, or by several
	RefusedDigest      Refusal = "digest"      // signed by another algorithm than RSA with SHA-256
	RefusedCertificate Refusal = "certificate" // no certificate of that Region is known
	RefusedSignature   Refusal = "signature"   // not signed by a key of that Region, or changed since
	RefusedContent     Refusal = "content"     // signed, and no document of an instance in that Region
)

// RefusedError refuses a document. It quotes nothing of it.
type RefusedError struct {
	Why    Refusal
	Region string // that was expected
	Err    error  // what was wrong; may be nil
}

func (e *RefusedError) Error() string {
	text := map[Refusal]string{
		RefusedSize:        fmt.Sprintf("it must have 1 to %d bytes", Max),
		RefusedForm:        "it is not base64 of one signed message",
		RefusedSigners:     "it must have exactly one signer",
		RefusedDigest:      "it is not signed with RSA and SHA-256",
		RefusedCertificate: "no certificate of Region " + e.Region + " is known",
		RefusedSignature:   "it is not signed by EC2 in Region " + e.Region + ", or was changed",
		RefusedContent:     "it is not about an instance in Region " + e.Region,
	}[e.Why]
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return "identity document refused: " + text
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Algorithms by which documents may be signed.
//
// Source: RFC 5754, sections 2.2 and 3.2; RFC 3370, section 3.2
func sha256() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1} }

func rsas() []asn1.ObjectIdentifier {
	return []asn1.ObjectIdentifier{{1, 2, 840, 113549, 1, 1, 1}, {1, 2, 840, 113549, 1, 1, 11}}
}

// Verify returns the document of an instance that is expected in a Region, if EC2 has signed it there. signed is the answer of
// the metadata service under dynamic/instance-identity/rsa2048: base64 of a PKCS7 message, with or without line breaks.
//
// Whatever certificates the message brings are replaced by those of the Region, so that nobody signs for EC2. Only what is
// signed is read.
//
// Errors: [RefusedError].
func (c Certificates) Verify(region string, signed []byte) (Document, error) {
	refuse := func(why Refusal, err error) (Document, error) {
		return Document{}, &RefusedError{Why: why, Region: region, Err: err}
	}
	if len(signed) == 0 || len(signed) > Max {
		return refuse(RefusedSize, nil)
	}
	known := c[region]
	if len(known) == 0 {
		return refuse(RefusedCertificate, nil)
	}
	message, err := parse(signed)
	switch {
	case err != nil:
		return refuse(RefusedForm, err)
	case len(message.Signers) != 1:
		return refuse(RefusedSigners, nil)
	case len(message.Content) == 0:
		return refuse(RefusedForm, nil)
	}
	signer := message.Signers[0]
	isRSA := slices.ContainsFunc(rsas(), signer.DigestEncryptionAlgorithm.Algorithm.Equal)
	if !signer.DigestAlgorithm.Algorithm.Equal(sha256()) || !isRSA {
		return refuse(RefusedDigest, nil)
	}
	message.Certificates = slices.Clone(known)
	if err := message.Verify(); err != nil {
		return refuse(RefusedSignature, err)
	}
	d, err := read(message.Content)
	if err != nil || d.Region != region {
		return refuse(RefusedContent, err)
	}
	return d, nil
}

// parse reads one PKCS7 message, with nothing after it.
func parse(signed []byte) (*pkcs7.PKCS7, error) {
	plain := bytes.Join(bytes.Fields(signed), nil)
	ber := make([]byte, base64.StdEncoding.DecodedLen(len(plain)))
	n, err := base64.StdEncoding.Strict().Decode(ber, plain)
	if err != nil {
		return nil, err
	}
	switch end, err := elementEnd(ber[:n], 0); {
	case err != nil:
		return nil, err
	case end != n:
		return nil, fmt.Errorf("%d bytes follow the message", n-end)
	}
	return pkcs7.Parse(ber[:n])
}

// maxDepth is how deep elements may be nested. Those of AWS are about 10 deep. The library copies what is inside an element once for
// each that is around it.
const maxDepth = 16

var errBER = errors.New("it is not BER")

// elementEnd is where the first element of some BER ends. EC2 signs messages whose length is not said at the beginning, which
// the library reads up to their end, whatever follows.
//
// Source: ITU-T X.690, section 8.1
func elementEnd(ber []byte, depth int) (int, error) {
	if len(ber) < 2 || ber[0]&0x1f == 0x1f || depth > maxDepth {
		return 0, errBER
	}
	at, length := 2, int(ber[1])
	switch {
	case ber[1] == 0x80: // until two zeros
		for {
			if len(ber) >= at+2 && ber[at] == 0 && ber[at+1] == 0 {
				return at + 2, nil
			}
			inner, err := elementEnd(ber[min(at, len(ber)):], depth+1)
			if err != nil {
				return 0, err
			}
			at += inner
		}
	case ber[1] > 0x80:
		size := int(ber[1] & 0x7f)
		if size > 3 || len(ber) < at+size {
			return 0, errBER
		}
		length = 0
		for _, b := range ber[at : at+size] {
			length = length<<8 | int(b)
		}
		at += size
	}
	if length > len(ber)-at {
		return 0, errBER
	}
	end := at + length
	for constructed := ber[0]&0x20 != 0; constructed && at < end; {
		inner, err := elementEnd(ber[at:end], depth+1)
		if err != nil {
			return 0, err
		}
		at += inner
	}
	return end, nil
}

// read reads a document that is signed.
func read(content []byte) (d Document, err error) {
	if err := json.Unmarshal(content, &d); err != nil {
		return Document{}, err
	}
	switch {
	case !regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`).MatchString(d.InstanceID):
		return Document{}, errors.New("it names no instance")
	case !regexp.MustCompile(`^\d{12}$`).MatchString(d.Account):
		return Document{}, errors.New("it names no account")
	case d.PendingTime.IsZero():
		return Document{}, errors.New("it says nothing of when the instance was started")
	}
	return d, nil
}
