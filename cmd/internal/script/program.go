package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main builds the command in whose folder the tests are, so that scripts run it by that name, and runs the tests. It is built as users
// have it, without the race detector, with which a start takes six times as long: what runs side by side in it are packages
// that have tests of their own. What runs for long a script runs as NAME.race, with the detector if the tests have it. Called
// by either name, as [Nobody] does, this program is the command itself, which main is.
func Main(m *testing.M, name string, main func()) (code int) {
	if called := filepath.Base(os.Args[0]); called == name || called == name+".race" {
		main()
		return 0
	}
	dir, err := os.MkdirTemp("", "l")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), ".") //nolint:noctx // nothing ends it
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err == nil {
		var program string
		if program, err = os.Executable(); err == nil {
			err = os.Symlink(program, filepath.Join(dir, name+".race"))
		}
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot build %s: %v\n", name, err)
		return 1
	}
	return m.Run()
}
