//go:build hostile

package hostile

import (
	"os"
	"strings"
	"sync"

	"github.com/creack/pty"
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
	terminal, inside, err := pty.Open()
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
