package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

type asking struct {
	cmd            *exec.Cmd
	terminal       *os.File
	stdout, stderr *transcript
}

type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// Questions lets scripts leave a prompt open: ask runs a program until it asks, and answer tells it.
func Questions(commands map[string]func(*testscript.TestScript, bool, []string)) {
	open := &sync.Map{} // by script
	commands["ask"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) == 0 {
			ts.Fatalf("usage: ask PROGRAM [ARG]…")
		}
		a, err := ask(ts, args)
		ts.Check(err)
		open.Store(ts, a)
	}
	commands["answer"] = func(ts *testscript.TestScript, neg bool, args []string) {
		a, isOpen := open.LoadAndDelete(ts)
		if neg || len(args) != 2 || !isOpen {
			ts.Fatalf("usage: answer CODE ANSWER, after ask")
		}
		ts.Check(a.(*asking).answer(ts, args[0], args[1]))
	}
}

// ask runs a program on a terminal of its own and waits until it asks.
func ask(ts *testscript.TestScript, args []string) (*asking, error) {
	controller, terminal, err := pty.Open()
	if err != nil {
		return nil, err
	}
	ts.Defer(func() { _, _ = controller.Close(), terminal.Close() })
	a := &asking{cmd: exec.Command(args[0], args[1:]...), terminal: controller, stdout: &transcript{}, stderr: &transcript{}} //nolint:noctx // it ends with its script
	a.cmd.Dir, a.cmd.Stdin, a.cmd.Stdout, a.cmd.Stderr = ts.MkAbs("."), terminal, a.stdout, a.stderr
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); ts.Getenv(name) != "" || name == "PATH" {
			a.cmd.Env = append(a.cmd.Env, name+"="+ts.Getenv(name))
		}
	}
	for _, name := range []string{
		"LAPSE_ETCD_ENDPOINTS", "LAPSE_LOG_LEVEL", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "TZ", "GORACE",
	} {
		a.cmd.Env = append(a.cmd.Env, name+"="+ts.Getenv(name))
	}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	ts.Defer(func() { _ = a.cmd.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.HasSuffix(a.stderr.String(), "? [y/N]\n") {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%s does not ask: %s%s", args[0], a.stdout, a.stderr)
}

// answer types a line and waits for the end.
func (a *asking) answer(ts *testscript.TestScript, code, text string) error {
	if _, err := io.WriteString(a.terminal, text+"\n"); err != nil {
		return err
	}
	err := a.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	_, _ = io.WriteString(ts.Stdout(), a.stdout.String())
	_, _ = io.WriteString(ts.Stderr(), a.stderr.String())
	if got := strconv.Itoa(a.cmd.ProcessState.ExitCode()); got != code {
		return fmt.Errorf("exit code %s, want %s: %s%s", got, code, a.stdout, a.stderr)
	}
	return nil
}
