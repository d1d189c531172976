package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
)

// soonEnds is how long before its end a certificate is to be replaced.
const soonEnds = 30 * 24 * time.Hour

// examineCertificates checks when the certificates by which etcd is reached end. Of a client's chain the one that ends first
// counts; of several authorities, as while one replaces another, the one that lasts longest.
func (e *examination) examineCertificates(c *ucli.Context) {
	for _, flag := range []string{"etcd-cert", "etcd-cacert"} {
		file := c.String(flag)
		if file == "" {
			continue
		}
		all, err := readCertificates(file)
		switch {
		case err != nil:
			e.add("certificate", levelFail, "--%s: %v", flag, err)
			continue
		case len(all) == 0:
			e.add("certificate", levelFail, "--%s: %s has no certificate", flag, file)
			continue
		}
		byEnd := func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }
		counts := slices.MinFunc(all, byEnd)
		if flag == "etcd-cacert" {
			counts = slices.MaxFunc(all, byEnd)
		}
		e.judgeCertificate(file, counts, time.Now())
	}
}

// judgeCertificate tells when a certificate ends, and whether it has begun.
func (e *examination) judgeCertificate(what string, c *x509.Certificate, now time.Time) {
	switch left := c.NotAfter.Sub(now); {
	case c.NotBefore.After(now):
		e.add("certificate", levelFail, "%s is not valid before %s: check the clock of this machine, or replace it", what, cli.When(c.NotBefore, now))
	case left <= 0:
		e.add("certificate", levelFail, "%s ended %s: replace it, and restart what uses it", what, cli.When(c.NotAfter, now))
	case left < soonEnds:
		e.add("certificate", levelWarn, "%s ends %s: replace it before that", what, cli.When(c.NotAfter, now))
	default:
		e.add("certificate", levelOK, "%s is valid until %s", what, cli.When(c.NotAfter, now))
	}
}

// readCertificates reads all certificates of a file, in their order.
func readCertificates(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
	return all, nil
}
