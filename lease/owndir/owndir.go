// Package owndir tells directories that nobody else can change. A process of root that makes a socket or a file in another
// user's directory lets that user put a link in its place, and so choose what root writes to, or whose mode root changes.
//
// A directory is safe if it and every directory and link on the way to it belong to root or to the user of this process, and
// not every user can write in one of them. On the way, a sticky directory such as /tmp is safe: others can neither rename
// nor remove what is not theirs. So is one that a group can write, such as /var/log of some distributions.
package owndir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Error says why a directory is not safe.
type Error struct {
	Dir string // it, or a directory or link on the way to it
	Why string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s, so its files could be replaced: choose a directory that only root and user id %d can write",
		e.Dir, e.Why, os.Geteuid())
}

// Use is what is made in a directory.
type Use int

// Uses of directories.
const (
	Files  Use = iota // files whose content is relied on: nobody else may write in it
	Socket            // a socket: it may be sticky, since a socket never takes the place of what is there
)

// Check refuses a directory that is not safe. What does not exist yet is: call it again once it does.
//
// Errors: [Error]; those of the file system.
func Check(dir string, use Use) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at, rest := "/", parts(dir)
	for links := 0; ; {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		why, err := unsafe(at, info, use, len(rest) == 0)
		if err != nil {
			return err
		}
		if why != "" {
			return &Error{Dir: at, Why: why}
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(at)
			if err != nil {
				return err
			}
			if links++; links > maxLinks {
				return &fs.PathError{Op: "check", Path: dir, Err: syscall.ELOOP}
			}
			at, rest = filepath.Dir(at), slices.Concat(parts(target), rest)
			if filepath.IsAbs(target) {
				at = "/"
			}
			if len(rest) > 0 {
				at, rest = filepath.Join(at, rest[0]), rest[1:]
			}
			continue
		}
		if len(rest) == 0 {
			return nil
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:]
	}
}

// Make makes a directory for files, and those on the way, unless they are there. It refuses one that is not safe.
//
// Errors: as of [Check].
func Make(dir string, mode fs.FileMode) error {
	if err := Check(dir, Files); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return Check(dir, Files) // somebody may have been quicker
}

const maxLinks = 40 // as the kernel's (path_resolution(7))

func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return part == "" || part == "." })
}

// unsafe says why others can change what is in a directory, or where a link leads; empty if they cannot.
func unsafe(path string, info fs.FileInfo, use Use, last bool) (why string, err error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("the owner of %s is not known", path)
	}
	if uid := stat.Uid; uid != 0 && int(uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to user id %d", uid), nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return "", nil
	}
	if !info.IsDir() {
		return "", &fs.PathError{Op: "check", Path: path, Err: syscall.ENOTDIR}
	}
	if info.Mode()&fs.ModeSticky != 0 && (!last || use == Socket) {
		return "", nil
	}
	group := stat.Gid != 0 && int(stat.Gid) != os.Getegid()
	switch perm := info.Mode().Perm(); {
	case perm&0o002 != 0:
		return "can be written by every user", nil
	case last && group && perm&0o020 != 0:
		return fmt.Sprintf("can be written by the users of group id %d", stat.Gid), nil
	}
	return "", nil
}
