package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"lapse/lease/owndir"
)

// Log is a file of events, one line of JSON each. Lines are only ever appended, each by one write, so that several
// programs may share the file, and a file that was renamed or removed is replaced by a new one, as log rotation needs it.
type Log struct {
	mu   sync.Mutex
	path string
	out  io.Writer // instead of a file, if path is empty
	file *os.File
	torn bool // the last line was not written to its end
}

// Open opens the file, or creates it for its owner to write and its group to read. It refuses a directory in which
// others could put a link in its place.
func Open(path string) (*Log, error) {
	if err := owndir.Check(filepath.Dir(path), owndir.Files); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	a := &Log{path: path}
	if err := a.reopen(); err != nil {
		return nil, err
	}
	return a, nil
}

// To is a log that writes to w.
func To(w io.Writer) *Log { return &Log{out: w} }

// Write appends one event. It is safe for many goroutines.
func (a *Log) Write(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	line = append(line, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.out
	if out == nil {
		if err := a.reopen(); err != nil {
			return err
		}
		out = a.file
	}
	if a.torn { // the disk was full in the middle of a line; that one is lost, the next is not
		line = append([]byte{'\n'}, line...)
	}
	n, err := out.Write(line)
	if n > 0 {
		a.torn = n < len(line)
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// reopen opens the file that now has the path, unless it is the open one.
func (a *Log) reopen() error {
	if a.file != nil {
		there, err := os.Stat(a.path)
		if open, openErr := a.file.Stat(); err == nil && openErr == nil && os.SameFile(there, open) {
			return nil
		}
	}
	// Without O_NONBLOCK, a pipe that nobody reads would be waited for here.
	file, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640) //nolint:gosec // the group reads it, as with every log
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if a.file != nil {
		_ = a.file.Close()
		a.torn = false
	}
	a.file = file
	return nil
}

// Close closes the file, unless a line is on its way that the file does not take.
func (a *Log) Close() error {
	if !a.mu.TryLock() {
		return nil
	}
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}
