package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/urfave/cli/v2"
)

// stopped runs a command of that action, asks it to stop after a minute if it still runs, and returns its exit code and
// when it ended.
func stopped(t *testing.T, stdout, stderr io.Writer, action cli.ActionFunc) (code int, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, context.Canceled)
	defer cancel()
	begun := time.Now()
	app := &cli.App{Name: "test", Commands: []*cli.Command{{Name: "do", Flags: LogFlags(), Action: action}}}
	code = Run(ctx, app, []string{"test", "do"}, stdout, stderr)
	return code, time.Since(begun)
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestEveryCommandEndsWhenAskedToStop(t *testing.T) {
	say := func(c *cli.Context) error {
		for range 10 {
			Say(c, "a line")
		}
		return nil
	}
	for name, c := range map[string]struct {
		full   string // the pipe that nobody reads
		action cli.ActionFunc
		code   int
		took   time.Duration
	}{
		"nothing":        {"", say, ExitDone, 0},
		"stderr":         {"stderr", say, ExitDone, 2 * flushTime},
		"stdout":         {"stdout", func(c *cli.Context) error { return JSON(c, "a value") }, ExitUnknown, time.Minute + stopMax},
		"its context":    {"", func(c *cli.Context) error { <-c.Done(); return context.Canceled }, ExitUnknown, time.Minute},
		"its own end":    {"", func(c *cli.Context) error { Takes(c, time.Hour); time.Sleep(30 * time.Minute); return nil }, ExitDone, 30 * time.Minute},
		"longer than it": {"", func(c *cli.Context) error { Takes(c, time.Hour); time.Sleep(2 * time.Hour); return nil }, ExitFailed, time.Minute + time.Hour},
		"what is over":   {"", func(c *cli.Context) error { Takes(c, time.Hour); Takes(c, 0); time.Sleep(time.Hour); return nil }, ExitUnknown, time.Minute + stopMax},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stdout, stderr := io.Discard, io.Discard
				unread, full := io.Pipe()
				defer unread.Close()
				switch c.full {
				case "stdout":
					stdout = full
				case "stderr":
					stderr = full
				}
				code, took := stopped(t, stdout, stderr, c.action)
				if code != c.code || took < c.took || took > c.took+stopMax/50 {
					t.Errorf("exit code %d after %s, want %d after %s", code, took, c.code, c.took)
				}
				_ = unread.Close()
				time.Sleep(2 * time.Hour) // until what was given up has ended
			})
		})
	}
}

// Not parallel, for the same reason.
func TestASignalAtAPromptMeansNo(t *testing.T) {
	terminal, inside, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = terminal.WriteString("n\n") // ends the read
		_ = inside.Close()
		_ = terminal.Close()
	})
	ctx, signal := context.WithCancel(t.Context())
	asked := &asking{signal: signal}
	app := &cli.App{Name: "test", Reader: inside, Commands: []*cli.Command{{Name: "do", Action: func(c *cli.Context) error {
		return Confirm(c, "sure", func() error { return fmt.Errorf("looked again") })
	}}}}
	code := Run(ctx, app, []string{"test", "do"}, os.Stdout, asked)
	if text := asked.said.String(); code != ExitRefused || !strings.Contains(text, "nothing was done") {
		t.Errorf("exit code %d, %q", code, text)
	}
}

// asking is a stderr that sends a signal as soon as it shows a question.
type asking struct {
	signal context.CancelFunc
	said   strings.Builder // by one goroutine, until Run has returned
}

func (a *asking) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "[y/N]") {
		a.signal()
	}
	return a.said.Write(p)
}
