package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"syscall"

	"github.com/google/renameio/v2"
)

// Key reads the instance's key, or makes one. Keep the file where no image, snapshot or backup has it: under /run. Without a file
// the key is kept nowhere. Nor is it where the file cannot be written, or has something else in it, which is left alone: whoever
// cannot keep a key must not lose its heartbeat for that.
func Key(file string, log *slog.Logger) (tls.Certificate, error) {
	if file == "" {
		return newKey("", log)
	}
	key, err := readKey(file)
	switch {
	case err == nil:
		return certificate(key)
	case !errors.Is(err, fs.ErrNotExist):
		log.Warn("the file of this instance's key cannot be used: remove it; until then each start enrols another key", "file", file, "error", err)
		file = ""
	}
	return newKey(file, log)
}

const keyFileMax = 4 << 10 // bytes of a file with a key; one has about 240

// readKey reads the file, if nobody else can know what is in it. In a sticky directory, such as /tmp, another user may have been
// there first, with a key of theirs: with it they would be this instance, and could release its lease.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if own := ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid()); !own || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, errors.New("it belongs to another user, or others can read it")
	}
	text, err := io.ReadAll(io.LimitReader(f, keyFileMax))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("it has no ECDSA key on P-256")
	}
	return private, nil
}

func newKey(file string, log *slog.Logger) (tls.Certificate, error) {
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
		log.Warn("cannot keep the key of this instance; after a restart it enrols another", "file", file, "error", err)
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
