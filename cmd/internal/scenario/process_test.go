//go:build e2e

package scenario

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lapse/cmd/internal/script"
)

// journal is what was logged, line by line, and when.
type journal struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

// keep reads to the end.
func (j *journal) keep(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		j.mu.Lock()
		j.lines, j.at = append(j.lines, lines.Text()), append(j.at, time.Now())
		j.mu.Unlock()
	}
}

// Write keeps one line.
func (j *journal) Write(line []byte) (int, error) {
	j.keep(bytes.NewReader(line))
	return len(line), nil
}

// said returns when lines with all of these texts were logged.
func (j *journal) said(texts ...string) []time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	var at []time.Time
	for n, line := range j.lines {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			at = append(at, j.at[n])
		}
	}
	return at
}

// all is everything that was logged.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// end is the end of the journal, for people.
func (j *journal) end() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-40):], "\n")
}

// process is a running command.
type process struct {
	*exec.Cmd
	journal
	read  chan struct{} // closed when it has said its last
	ended sync.Once
}

// spawn starts a process that ends with the test, by its own process id.
func (w *world) spawn(c *exec.Cmd) *process {
	w.t.Helper()
	p := &process{Cmd: c, read: make(chan struct{})}
	stderr, err := c.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		p.keep(stderr)
	}()
	w.t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", strings.Join(c.Args, " "), p.journal.end())
		}
	})
	return p
}

// end tells the process to end, also if it was stopped, and waits for that.
func (p *process) end(by syscall.Signal) {
	p.ended.Do(func() {
		_ = p.Process.Signal(by)
		_ = p.Process.Signal(syscall.SIGCONT)
		<-p.read
		_ = p.Wait()
	})
}

// leaves waits until the process has ended by itself, and returns its exit code.
func (w *world) leaves(p *process) int {
	w.t.Helper()
	w.until(p.Args[0]+" having ended", func() bool {
		select {
		case <-p.read:
			return true
		default:
			return false
		}
	})
	p.end(syscall.SIGTERM)
	return p.ProcessState.ExitCode()
}

// suspend stops a process, and returns when it has stopped and what lets it go on.
func (w *world) suspend(p *process) (resume func()) {
	w.t.Helper()
	send := func(s syscall.Signal) {
		w.t.Helper()
		if err := p.Process.Signal(s); err != nil {
			w.t.Fatal(err)
		}
	}
	send(syscall.SIGSTOP)
	w.until("a process having stopped", func() bool { // on a busy machine that takes its time
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil {
			w.t.Fatal(err)
		}
		return strings.Contains(string(stat), ") T ")
	})
	return func() { send(syscall.SIGCONT) }
}

// janitor runs a janitor that sweeps every second and shows its metrics, and waits until it has swept once.
func (w *world) janitor(args ...string) *process {
	w.t.Helper()
	p := w.candidate(args...)
	w.until("a first sweep", func() bool { return len(p.said("msg=swept")) > 0 })
	return p
}

// candidate runs a janitor, whatever becomes of it.
func (w *world) candidate(args ...string) *process {
	w.t.Helper()
	return w.spawn(w.command("janitor", append([]string{"run"}, script.Overriding(args,
		"--schedule", "@every 1s", "--listen", "127.0.0.1:0", "--mark-grace", markGrace.String(), "--orphan-grace", orphanGrace.String(),
	)...)...))
}

// What janitors wait here: the notice that they give, and the time between two looks at what a launch left.
const (
	markGrace   = 5 * time.Second
	orphanGrace = time.Second
)

// metrics are what a janitor shows of itself.
func (p *process) metrics(w *world) string {
	w.t.Helper()
	p.mu.Lock()
	found := regexp.MustCompile(`msg=listening address=(\S+)`).FindStringSubmatch(strings.Join(p.lines, "\n"))
	p.mu.Unlock()
	if found == nil {
		w.t.Fatal("the janitor does not listen")
	}
	resp, err := http.Get("http://" + found[1] + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}
