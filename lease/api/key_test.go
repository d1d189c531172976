package api_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapse/lease/api"
)

// TestAFileWithoutAnEndIsNotReadToIt has a key, and then nothing for a terabyte.
func TestAFileWithoutAnEndIsNotReadToIt(t *testing.T) {
	t.Parallel()
	_, file := keyIn(t)
	if err := os.Truncate(file, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Key(file, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// keyIn makes a directory with a key in it.
func keyIn(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "key.pem")
	if _, err := api.Key(file, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestAKeyIsKeptForThisUserAlone(t *testing.T) {
	t.Parallel()
	_, file := keyIn(t)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
	first, err := api.Key(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := api.Key(file, slog.New(slog.DiscardHandler)); err != nil || !publicKey(t, first).Equal(publicKey(t, again)) {
		t.Errorf("another key (%v)", err)
	}
}

// TestAKeyThatOthersMayKnowIsNotUsed: the socket, beside which the key is, may be in a sticky directory. What is there instead is
// left alone, and keeps no instance from renewing.
func TestAKeyThatOthersMayKnowIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir, file string) error{
		"another user's": func(_, file string) error { return os.Chown(file, 65534, 65534) },
		"others read it": func(_, file string) error { return os.Chmod(file, 0o644) },
		"a link": func(dir, file string) error {
			return errors.Join(os.Rename(file, filepath.Join(dir, "other")), os.Symlink("other", file))
		},
		"a pipe that nobody writes to": func(_, file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) },
		"a directory":                  func(_, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"empty":                        func(_, file string) error { return os.Truncate(file, 0) },
		"cut":                          func(_, file string) error { return os.Truncate(file, 200) },
		"of another kind": func(_, file string) error {
			return os.WriteFile(file, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "another user's" && os.Geteuid() != 0 {
				t.Skip("only root can make files of others")
			}
			dir, file := keyIn(t)
			first, err := api.Key(file, slog.New(slog.DiscardHandler))
			if err == nil {
				err = spoil(dir, file)
			}
			if err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(file)
			var said strings.Builder
			key, err := api.Key(file, slog.New(slog.NewTextHandler(&said, nil)))
			if err != nil || publicKey(t, key).Equal(publicKey(t, first)) || !strings.Contains(said.String(), "remove it") {
				t.Errorf("the same key, or %v, or nothing is said: %s", err, &said)
			}
			if after, err := os.Lstat(file); err != nil || !os.SameFile(before, after) {
				t.Errorf("the file was replaced (%v)", err)
			}
		})
	}
}

// TestAKeyThatCannotBeKeptIsUsed: an instance whose /run is full still proves that it is alive.
func TestAKeyThatCannotBeKeptIsUsed(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	key, err := api.Key(filepath.Join(t.TempDir(), "missing", "key.pem"), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil || key.PrivateKey == nil || !strings.Contains(said.String(), "cannot keep the key") {
		t.Errorf("%v; %s", err, said.String())
	}
}

func publicKey(t *testing.T, c tls.Certificate) *ecdsa.PublicKey {
	t.Helper()
	key, ok := c.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("%T", c.PrivateKey)
	}
	return &key.PublicKey
}
