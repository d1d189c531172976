package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// fileMax is how long whoever waits for the state directory waits at most.
const fileMax = 5 * time.Second

// stateFile is a file that is replaced as a whole. It is read and written beside whoever asks: a disk that hangs holds up
// nothing but what waits for it. Of several contents that are asked for while one is written, the last is written next.
type stateFile struct {
	mu      sync.Mutex
	next    *content      // waits to be written; nil: nothing does
	busy    bool          // one is being written
	asked   int           // contents asked for
	written int           // the last of them that was dealt with
	err     error         // what came of it
	turned  chan struct{} // closes when one was dealt with
}

type content struct {
	path, dir string
	data      []byte
	number    int
}

// put asks for the file to have that content.
func (f *stateFile) put(dir, path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.next = &content{path: path, dir: dir, data: data, number: f.asked}
	if f.turned == nil {
		f.turned = make(chan struct{})
	}
	if !f.busy {
		f.busy = true
		go f.run()
	}
}

func (f *stateFile) run() {
	for {
		f.mu.Lock()
		c := f.next
		f.next = nil
		if c == nil {
			f.busy = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		err := renameio.WriteFile(c.path, c.data, 0o600, renameio.WithTempDir(c.dir))
		f.mu.Lock()
		f.written, f.err = c.number, err
		close(f.turned)
		f.turned = make(chan struct{})
		f.mu.Unlock()
	}
}

// wait returns once what has been asked for by now is on disk, or cannot be, for 5 s at most.
func (f *stateFile) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fileMax)
	defer cancel()
	f.mu.Lock()
	asked := f.asked
	f.mu.Unlock()
	for {
		f.mu.Lock()
		written, err, turned := f.written, f.err, f.turned
		f.mu.Unlock()
		if written >= asked {
			return err
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return errors.New("the state directory does not answer within " + fileMax.String())
		}
	}
}

// readFile reads a file, for 5 s at most. What is no file is not opened: a pipe would wait for whoever writes.
func readFile(path string) ([]byte, error) {
	type answer struct {
		data []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		info, err := os.Lstat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file", path)
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(path)
		}
		read <- answer{data, err}
	}()
	select {
	case a := <-read:
		return a.data, a.err
	case <-time.After(fileMax):
		return nil, &slowError{path}
	}
}

// slowError says that a disk does not answer.
type slowError struct{ path string }

func (e *slowError) Error() string { return e.path + " does not answer within " + fileMax.String() }
