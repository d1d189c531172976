// Package wallclock makes commands whose wall clock a test can set while they run, and sets it. Monotonic time is left
// alone, as it is when a machine's clock is set. It is for tests that run the commands as processes.
package wallclock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Build makes lease, janitor and sidecar-direct in dir, of the module at root. The first time it takes minutes: all of the standard
// library is built with them.
func Build(ctx context.Context, root, dir string) error {
	script, err := filepath.Abs(filepath.Join(root, "cmd", "internal", "wallclock", "build"))
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, script, dir+"/", "./cmd/lease", "./cmd/janitor", "./cmd/sidecar-direct")
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the commands: %w\n%s", err, out)
	}
	return nil
}

// Clock is the wall clock of processes: a file that says how far it is off, which they have mapped.
type Clock string

// New makes a clock that is right.
func New(file string) (Clock, error) {
	return Clock(file), os.WriteFile(file, make([]byte, 8), 0o600)
}

// Env is what the environment of a process has to hold, for its clock to be this one.
func (c Clock) Env() string { return "WALLCLOCK=" + string(c) }

// Set lets the clock be so far ahead of the right time, or behind it.
func (c Clock) Set(ahead time.Duration) error {
	file, err := os.OpenFile(string(c), os.O_WRONLY, 0) // in place: a new file would not be the mapped one
	if err != nil {
		return err
	}
	return errors.Join(binary.Write(file, binary.LittleEndian, int64(ahead)), file.Close())
}
