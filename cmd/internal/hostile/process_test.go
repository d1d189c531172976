//go:build hostile

package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapse/cmd/internal/wallclock"
)

// process is a running command. It ends by its own process id, at the latest with the test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	name string
	log  string // file of what it says on stderr; empty if that goes elsewhere
	done chan struct{}
	wall clock
}

// start starts a command. Without a stderr of its own it logs to a file.
func (w *world) start(c *exec.Cmd) *process {
	w.t.Helper()
	return w.prepared(c, 0)
}

// prepared starts a command whose clock is that far ahead from the beginning.
func (w *world) prepared(c *exec.Cmd, ahead time.Duration) *process {
	w.t.Helper()
	w.started++
	p := &process{
		t: w.t, cmd: c, name: filepath.Base(c.Path), done: make(chan struct{}),
		wall: newClock(w.t, filepath.Join(w.dir, fmt.Sprintf("clock-%d", w.started))),
	}
	p.wall.set(ahead)
	c.Env = append(c.Env, p.wall.Env())
	if c.Stderr == nil {
		p.log = filepath.Join(w.dir, fmt.Sprintf("log-%d-%s", w.started, p.name))
		file, err := os.Create(p.log)
		if err != nil {
			w.t.Fatal(err)
		}
		defer file.Close()
		c.Stderr = file
	}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = c.Wait()
		close(p.done)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() && p.log != "" {
			w.t.Logf("%s said at the end:\n%s", strings.Join(c.Args, " "), tail(p.said(), 12))
		}
	})
	return p
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// said is what it said on stderr so far.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	return string(text)
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it at once, also if it is stopped.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// signal sends it a signal, which is no error if it has ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// ends tells it to end, and checks that it does so within a bound.
func (p *process) ends(bound time.Duration) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(bound):
		p.t.Errorf("%s still runs %s after SIGTERM", p.name, bound)
		p.kill()
	}
}

// exits waits until it has ended by itself, and returns its exit code.
func (p *process) exits(bound time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(bound):
		p.t.Fatalf("%s has not ended within %s", strings.Join(p.cmd.Args, " "), bound)
	}
	return p.cmd.ProcessState.ExitCode()
}

// clock is the wall clock of one process.
type clock struct {
	t *testing.T
	wallclock.Clock
}

func newClock(t *testing.T, file string) clock {
	t.Helper()
	c, err := wallclock.New(file)
	if err != nil {
		t.Fatal(err)
	}
	return clock{t, c}
}

// set lets the clock be so far ahead of the right time.
func (c clock) set(ahead time.Duration) {
	c.t.Helper()
	if err := c.Set(ahead); err != nil {
		c.t.Fatal(err)
	}
}
