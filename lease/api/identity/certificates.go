package identity

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	_ "embed" // of AWS's certificates
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
)

// aws are AWS's RSA-2048 certificates, each below a line that names its Region.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/regions-certs.html, retrieved 2026-08-22
//
//go:embed aws-rsa2048.pem
var aws []byte

// Certificates are those by which a Region signs. A Region may have several, as when one is about to replace another.
type Certificates map[string][]*x509.Certificate

// AWS are the certificates that AWS has published.
//
// Errors: none, unless this program was built from a broken file.
func AWS() (Certificates, error) { return Read(aws) }

// Read reads certificates in PEM, each below a line "# Region: NAME".
//
// Errors: for text that is neither, a certificate below no Region, one that cannot be read, or one that is not of an RSA key.
func Read(text []byte) (Certificates, error) {
	heading := regexp.MustCompile(`(?m)^# Region: ([a-z0-9-]+)\s*$`)
	all := Certificates{}
	region := ""
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			if left := comment().ReplaceAll(text, nil); len(bytes.TrimSpace(left)) > 0 {
				return nil, fmt.Errorf("certificates for identity documents: %.40q is not PEM", bytes.TrimSpace(left))
			}
			break
		}
		if bytes.Count(text[:len(text)-len(rest)], []byte("-----BEGIN")) != 1 { // one before it was skipped, and its heading with it
			return nil, errors.New("certificates for identity documents: a block that begins like PEM cannot be read; correct or remove it")
		}
		before := text[:bytes.Index(text, []byte("-----BEGIN"))]
		if left := comment().ReplaceAll(before, nil); len(bytes.TrimSpace(left)) > 0 {
			return nil, fmt.Errorf("certificates for identity documents: %.40q is not PEM", bytes.TrimSpace(left))
		}
		if named := heading.FindAllSubmatch(before, -1); named != nil {
			region = string(named[len(named)-1][1])
		}
		if region == "" {
			return nil, fmt.Errorf("certificates for identity documents: the first one is below no line \"# Region: NAME\"")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate of Region %s: %w", region, err)
		}
		if _, is := certificate.PublicKey.(*rsa.PublicKey); !is {
			return nil, fmt.Errorf("certificate of Region %s: its key is %s, not RSA", region, certificate.PublicKeyAlgorithm)
		}
		all[region] = append(all[region], certificate)
		text = rest
	}
	return all, nil
}

// ReadFile is AWS's certificates, and those of a file beside them; of AWS alone if file is empty.
func ReadFile(file string) (Certificates, error) {
	known, err := AWS()
	if err != nil || file == "" {
		return known, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	more, err := Read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return known.With(more), nil
}

// comment matches a line of its own that begins with #.
func comment() *regexp.Regexp { return regexp.MustCompile(`(?m)^#.*$`) }

// With are these certificates and others.
func (c Certificates) With(others Certificates) Certificates {
	all := maps.Clone(c)
	for region, more := range others {
		all[region] = append(slices.Clone(all[region]), more...)
	}
	return all
}
