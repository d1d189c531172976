package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitDone},
		{errors.New("any"), ExitFailed},
		{Usage("any"), ExitUsage},
		{&lease.LimitError{}, ExitUsage},
		{&lease.PastError{}, ExitUsage},
		{&lease.NotFoundError{}, ExitMissing},
		{context.DeadlineExceeded, ExitMissing},
		{&lease.StateError{}, ExitRefused},
		{&lease.ClampedError{}, ExitRefused},
		{&lease.ShortenError{}, ExitRefused},
		{&lease.MismatchError{}, ExitRefused},
		{&lease.LaunchStateError{}, ExitRefused},
		{&lease.WindowError{}, ExitRefused},
		{&lease.SchemaError{}, ExitRefused},
		{&lease.MalformedError{}, ExitRefused},
		{&lease.ConflictError{}, ExitRefused},
		{context.Canceled, ExitUnknown},
		{WithCode(ExitHeld, errors.New("any")), ExitHeld},
		{WithCode(ExitUnknown, &lease.StateError{}), ExitUnknown},
		{&QuietError{Code: ExitPartly}, ExitPartly},
		{WithCode(ExitHeld, nil), ExitDone},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%T is %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := ExitCode(fmt.Errorf("verb: %w", c.err)); got != c.want {
			t.Errorf("%T, wrapped, is %d, want %d", c.err, got, c.want)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestAnErrorIsPrintedOnceAndAQuietOneNever(t *testing.T) {
	for want, err := range map[string]error{
		"app: it broke\n": errors.New("it broke"),
		"":                &QuietError{Code: ExitFailed},
	} {
		var out, errs bytes.Buffer
		app := example(func(*cli.Context) error { return err })
		if code := Run(t.Context(), app, []string{"app", "extend"}, &out, &errs); code != ExitFailed || errs.String() != want || out.Len() > 0 {
			t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, &out, &errs, want)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestConfirmRequiresYesWithoutATerminal(t *testing.T) {
	for line, want := range map[string]int{"": ExitUsage, "--yes": ExitDone, "-y": ExitDone} {
		var out, errs bytes.Buffer
		app := example(func(c *cli.Context) error { return Confirm(c, "end it", func() error { return nil }) })
		app.Commands[0].Flags = append(app.Commands[0].Flags, YesFlag())
		args := []string{"app", "extend"}
		if line != "" {
			args = append(args, line)
		}
		if code := Run(t.Context(), app, args, &out, &errs); code != want {
			t.Errorf("%q: exit code %d, want %d: %s", line, code, want, &errs)
		}
	}
}

func TestNamespaceCannotReachIntoAnother(t *testing.T) {
	t.Parallel()
	for name, right := range map[string]bool{
		"default": true, "team-a.prod_2": true, "": false, "a/leases": false, "a b": false, "ä": false,
	} {
		if err := checkNamespace(name); (err == "") != right {
			t.Errorf("%q: %v", name, err)
		}
	}
}
