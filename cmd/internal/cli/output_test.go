package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// full accepts nothing, as /dev/full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// runs runs a command that prints something without checking for an error, and ends with err.
func runs(ctx context.Context, out io.Writer, err error) (code int, said string) {
	var errs strings.Builder
	app := &cli.App{Name: "app", Commands: []*cli.Command{{Name: "extend", Action: func(c *cli.Context) error {
		_, _ = fmt.Fprintln(c.App.Writer, "done")
		return err
	}}}}
	code = Run(ctx, app, []string{"app", "extend"}, out, &errs)
	return code, errs.String()
}

func TestACommandFailsIfItsOutputCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		out  io.Writer
		err  error
		code int
		says string
	}{
		"written":                  {io.Discard, nil, ExitDone, ""},
		"not written":              {full{}, nil, ExitFailed, "app: the output of this command could not be written: no space left on device\n"},
		"not written, and refused": {full{}, WithCode(ExitRefused, errors.New("it is revoked")), ExitRefused, "app: it is revoked\n"},
		"written, and failed":      {io.Discard, errors.New("it failed"), ExitFailed, "app: it failed\n"},
	} {
		if code, said := runs(t.Context(), c.out, c.err); code != c.code || said != c.says {
			t.Errorf("%s: exit code %d, says %q; want %d, %q", name, code, said, c.code, c.says)
		}
	}
}

func TestAnErrorCausedByASignalSaysSo(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		says string
	}{
		"by a signal":             {stopped, context.Canceled, "app: stopped by a signal\n"},
		"by a signal, in a call":  {stopped, fmt.Errorf("list leases: %w", context.Canceled), "app: stopped by a signal: list leases: context canceled\n"},
		"what says so itself":     {stopped, WithCode(ExitUnknown, fmt.Errorf("run it again: %w", context.Canceled)), "app: run it again: context canceled\n"},
		"another call that ended": {t.Context(), fmt.Errorf("list leases: %w", context.Canceled), "app: list leases: context canceled\n"},
	} {
		if code, said := runs(c.ctx, io.Discard, c.err); code != ExitUnknown || said != c.says {
			t.Errorf("%s: exit code %d, says %q; want %d, %q", name, code, said, ExitUnknown, c.says)
		}
	}
}

// TestAnErrorShowsInvisibleCharacters: it may quote what another machine said, and a terminal obeys some of them.
func TestAnErrorShowsInvisibleCharacters(t *testing.T) {
	t.Parallel()
	_, said := runs(t.Context(), io.Discard, errors.New("the API says \x1b[2Jnothing\r\nand more: ü"))
	if want := "app: the API says \\x1b[2Jnothing\\r\nand more: ü\n"; said != want {
		t.Errorf("%q, want %q", said, want)
	}
}
