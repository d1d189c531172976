package script

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// nobody owns nothing and is in no group with rights.
const nobody = 65534

// Nobody is the program of this test, called with these arguments, the name of a program first, by a user without
// rights. The test is skipped without root, which alone can do that.
func Nobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run a program as somebody else")
	}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: args, // only root can read where it is
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
	}
}

// Refused runs a program as nobody, and returns its exit code and its output on stdout and stderr.
func Refused(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	all, err := Nobody(t, args...).CombinedOutput()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed {
		t.Fatalf("%q: %v\n%s", args, err, all)
	}
	return exit.ExitCode(), string(all)
}

// ShortDir is a directory for the test, with a short name: the path of a socket has 107 bytes at most, and t.TempDir is longer.
func ShortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
