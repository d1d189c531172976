//go:build chaos

package chaos

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running command. It ends by its own process id.
type process struct {
	cmd  *exec.Cmd
	log  string // file of what it says on stderr
	done chan struct{}
	out  bytes.Buffer // what it said on stdout; read it when it is done

	mu      sync.Mutex
	stopped bool
}

// start starts a command that dies with the test binary, whatever becomes of that.
func start(c *exec.Cmd, log string) (*process, error) {
	p := &process{cmd: c, log: log, done: make(chan struct{})}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c.Stderr, c.Stdout = file, &p.out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.Wait()
		_ = file.Close()
		close(p.done)
	}()
	return p, nil
}

func mustStart(t *testing.T, c *exec.Cmd, log string) *process {
	t.Helper()
	p, err := start(c, log)
	if err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	return p
}

// kill ends it at once, also if it is stopped.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// stop suspends it, and resume lets it continue.
func (p *process) stop()   { p.suspend(true, syscall.SIGSTOP) }
func (p *process) resume() { p.suspend(false, syscall.SIGCONT) }

func (p *process) suspend(stopped bool, signal os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != stopped {
		_ = p.cmd.Process.Signal(signal)
	}
	p.stopped = stopped
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// code is the exit code of a process that is done; -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// finish asks it to end, and kills it if it does not.
func (p *process) finish() {
	p.resume()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}
