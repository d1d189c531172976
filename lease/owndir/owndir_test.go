package owndir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lapse/lease/owndir"
)

// made is a directory of a test, or a link if it leads somewhere.
type made struct {
	path     string
	mode     fs.FileMode
	uid, gid int
	to       string
}

func (m made) in(root string) error {
	path := filepath.Join(root, m.path)
	if m.to != "" {
		return errors.Join(os.Symlink(m.to, path), os.Lchown(path, m.uid, m.gid))
	}
	return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, m.uid, m.gid), os.Chmod(path, m.mode))
}

func TestDirectoriesThatOthersCanChangeAreRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make directories of others")
	}
	const (
		alice, users = 1000, 100
		everybody    = "can be written by every user"
		sticky       = 0o777 | fs.ModeSticky
	)
	for name, c := range map[string]struct {
		made   []made
		check  string
		files  string // why it is refused for files; empty: it is not
		socket string // and for a socket
	}{
		"root's own":                       {[]made{{path: "a", mode: 0o755}}, "a", "", ""},
		"not there yet":                    {[]made{{path: "a", mode: 0o755}}, "a/b/c", "", ""},
		"another user's":                   {[]made{{path: "a", mode: 0o755, uid: alice}}, "a", "a belongs to user id 1000", "a belongs to user id 1000"},
		"in another user's":                {[]made{{path: "a", mode: 0o755, uid: alice}, {path: "a/b", mode: 0o755}}, "a/b", "a belongs to", "a belongs to"},
		"not there yet, in another user's": {[]made{{path: "a", mode: 0o755, uid: alice}}, "a/b", "a belongs to", "a belongs to"},
		"everybody's":                      {[]made{{path: "a", mode: 0o777}}, "a", everybody, everybody},
		"in everybody's":                   {[]made{{path: "a", mode: 0o777}, {path: "a/b", mode: 0o755}}, "a/b", everybody, everybody},
		"sticky":                           {[]made{{path: "a", mode: sticky}}, "a", everybody, ""},
		"in a sticky one":                  {[]made{{path: "a", mode: sticky}, {path: "a/b", mode: 0o755}}, "a/b", "", ""},
		"another user's sticky one":        {[]made{{path: "a", mode: sticky, uid: alice}}, "a", "a belongs to", "a belongs to"},
		"a group's":                        {[]made{{path: "a", mode: 0o775, gid: users}}, "a", "group id 100", "group id 100"},
		"in a group's, as /var/log is":     {[]made{{path: "a", mode: 0o775, gid: users}, {path: "a/b", mode: 0o750, gid: users}}, "a/b", "", ""},
		"this process's group's":           {[]made{{path: "a", mode: 0o775}}, "a", "", ""},
		"behind a link of root's":          {[]made{{path: "a", mode: 0o755}, {path: "a/l", to: "../a/./"}}, "a/l", "", ""},
		"behind another user's link":       {[]made{{path: "s", mode: sticky}, {path: "s/l", to: "/", uid: alice}}, "s/l", "s/l belongs to", "s/l belongs to"},
		"behind a link into another's":     {[]made{{path: "a", mode: 0o755, uid: alice}, {path: "l", to: "a"}}, "l/b", "a belongs to", "a belongs to"},
		"behind a link to the root":        {[]made{{path: "l", to: "/"}}, "l", "", ""},
		"links that lead nowhere":          {[]made{{path: "l", to: "l"}}, "l", "too many levels", "too many levels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, m := range c.made {
				if err := m.in(root); err != nil {
					t.Fatal(err)
				}
			}
			for use, want := range map[owndir.Use]string{owndir.Files: c.files, owndir.Socket: c.socket} {
				err := owndir.Check(filepath.Join(root, c.check), use)
				if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("use %d: %v, want %q", use, err, want)
				}
			}
		})
	}
}

func TestAFileIsNotADirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "/d"} {
		if err := owndir.Check(dir, owndir.Socket); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestDirectoriesAreMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := owndir.Make(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Error(err)
	}
}
