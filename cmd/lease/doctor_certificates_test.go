package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ucli "github.com/urfave/cli/v2"
)

// TestCertificatesAreReplacedBeforeTheyEnd examines files of certificates that end at different times.
func TestCertificatesAreReplacedBeforeTheyEnd(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		flag string
		ends []time.Duration
		want level
		text string
	}{
		"far away":                        {"etcd-cert", []time.Duration{90 * day}, levelOK, "is valid until"},
		"soon":                            {"etcd-cert", []time.Duration{29 * day}, levelWarn, "replace it before that"},
		"over":                            {"etcd-cert", []time.Duration{-time.Minute}, levelFail, "ended"},
		"its chain is over":               {"etcd-cert", []time.Duration{90 * day, -day}, levelFail, "ended"},
		"an authority is replaced":        {"etcd-cacert", []time.Duration{-day, 90 * day}, levelOK, "is valid until"},
		"all authorities are over":        {"etcd-cacert", []time.Duration{-day, -time.Minute}, levelFail, "ended"},
		"a file without any":              {"etcd-cacert", nil, levelFail, "has no certificate"},
		"not begun":                       {"etcd-cert", []time.Duration{500 * day}, levelFail, "is not valid before"},
		"the last authority ends so soon": {"etcd-cacert", []time.Duration{day, 2 * day}, levelWarn, "replace it before that"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "c.pem")
			var text []byte
			for _, d := range c.ends {
				text = append(text, endingIn(t, d)...)
			}
			if err := os.WriteFile(file, append(text, "# nothing more\n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			set := flag.NewFlagSet("doctor", flag.ContinueOnError)
			set.String("etcd-cert", "", "")
			set.String("etcd-cacert", "", "")
			if err := set.Parse([]string{"--" + c.flag, file}); err != nil {
				t.Fatal(err)
			}
			var e examination
			e.examineCertificates(ucli.NewContext(ucli.NewApp(), set, nil))
			if len(e.findings) != 1 || e.findings[0].Level != c.want || !strings.Contains(e.findings[0].Text, c.text) || !strings.Contains(e.findings[0].Text, file) {
				t.Errorf("found %+v, want %s: %s", e.findings, c.want, c.text)
			}
		})
	}
}

// endingIn is a certificate of 490 days that ends so far from now.
func endingIn(t *testing.T, d time.Duration) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(d - 490*24*time.Hour), NotAfter: time.Now().Add(d)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
