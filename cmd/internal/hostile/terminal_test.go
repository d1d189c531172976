//go:build hostile

package hostile

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// prompt is a command that asks on a terminal, and somebody who takes their time to answer.
type prompt struct {
	*process
	terminal *os.File
	mu       sync.Mutex
	shown    strings.Builder
}

// asks starts a command at a terminal of its own, and returns when it has asked.
func (w *world) asks(name string, args ...string) *prompt {
	w.t.Helper()
	terminal, inside, err := openTerminal()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = terminal.Close() })
	defer inside.Close()
	c := w.command(name, args...)
	c.Stdin, c.Stdout, c.Stderr = inside, inside, inside
	p := &prompt{process: w.start(c), terminal: terminal}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			p.mu.Lock()
			p.shown.Write(buffer[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	if !within(generous, func() bool { return strings.Contains(p.text(), "[y/N]") || !p.alive() }) || !p.alive() {
		w.t.Fatalf("%s %s does not ask: %s", name, strings.Join(args, " "), p.text())
	}
	return p
}

// text is what it has shown.
func (p *prompt) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// yes answers, and returns the exit code.
func (p *prompt) yes() int {
	p.t.Helper()
	if _, err := p.terminal.WriteString("y\n"); err != nil {
		p.t.Fatal(err)
	}
	return p.exits(generous)
}

// openTerminal opens a pseudo-terminal (pty(7)): the end of whoever types, and the end of a command.
func openTerminal() (outside, inside *os.File, err error) {
	if outside, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = outside.Close()
		}
	}()
	number := 0
	raw, err := outside.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var failed error
	if err = raw.Control(func(fd uintptr) { // not by Fd, which would make reads uninterruptible
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err == nil {
		err = failed
	}
	if err != nil {
		return nil, nil, err
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return outside, inside, err
}
