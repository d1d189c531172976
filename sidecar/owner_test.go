package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapse/lease/owndir"
)

const unwatched = 65534

// asRoot skips a test for which files have to belong to different users.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can give files to others")
	}
}

// refused listens, and wants that not to be done, in these words.
func refused(t *testing.T, path, words string) {
	t.Helper()
	l, err := listen(t.Context(), path)
	if err == nil {
		_ = l.Close()
	}
	var socket *SocketError
	if !errors.As(err, &socket) || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func TestSocketsInTheDirectoriesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	asRoot(t)
	path := socketPath(t)
	if err := os.Chown(filepath.Dir(path), unwatched, unwatched); err != nil {
		t.Fatal(err)
	}
	refused(t, path, "belongs to user id 65534")
	refused(t, filepath.Join(filepath.Dir(path), "d", "s"), "belongs to user id 65534")
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := listen(t.Context(), path); !as[*owndir.Error](err) {
		t.Errorf("%T", err)
	}
}

// TestLinksInTheWayOfASocketAreNotFollowed plants them in a sticky directory, where everybody may.
func TestLinksInTheWayOfASocketAreNotFollowed(t *testing.T) {
	t.Parallel()
	asRoot(t)
	path := socketPath(t)
	dir := filepath.Dir(path)
	precious := filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(precious, nil, 0o600), os.Chmod(dir, 0o777|fs.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	plant := func(name, to string) {
		if err := errors.Join(os.Symlink(to, name), os.Lchown(name, unwatched, unwatched)); err != nil {
			t.Fatal(err)
		}
	}
	plant(path+".lock", filepath.Join(dir, "made"))
	refused(t, path, ".lock is a link, or belongs to another user: remove it")
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	plant(path, precious)
	refused(t, path, "is not a socket")
	if info, err := os.Stat(precious); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		t.Error("a file was made where the link leads")
	}
	if err := errors.Join(os.Remove(path), os.Chown(path+".lock", unwatched, unwatched)); err != nil {
		t.Fatal(err)
	}
	refused(t, path, ".lock is a link, or belongs to another user: remove it")
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatalf("a sticky directory will do: %v", err)
	}
	_ = l.Close()
}
