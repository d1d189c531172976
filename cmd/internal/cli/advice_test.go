package cli

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"lapse/lease"
	"lapse/sidecar"
)

func TestAnErrorSaysWhatToDoAtACommandLine(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	away := errors.New("deadline exceeded")
	gone := func(o lease.Obstacle) error {
		return &lease.UnrecoverableError{ID: "i-1", Obstacle: o, Token: "t", Why: "it is so"}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{
			&lease.StateError{ID: "i-1", Verb: "extend", State: lease.StateUnmanaged, Since: noon},
			"cannot extend i-1: its lease has been unmanaged since 2026-03-01T12:00:00Z; see `lease why i-1`",
		},
		{&lease.NotFoundError{Kind: "lease", ID: "i-1"}, "no lease for \"i-1\" in the registry: find its id with `lease list`"},
		{&lease.NotFoundError{Kind: "launch", ID: "t"}, "no launch for \"t\" in the registry: find its id with `lease list`"},
		{
			&lease.NotFoundError{Kind: "registry", ID: "default"},
			"no registry in namespace \"default\": create it with `lease init`, or if it existed and is lost, see `lease recover --help`",
		},
		{&lease.NotFoundError{Kind: "checkpoint"}, "no janitor has swept yet: start `janitor run`"},
		{
			&lease.NotFoundError{Kind: "heartbeat", ID: "i-1"},
			"no heartbeat for \"i-1\" in the registry: start `sidecar run` on it",
		},
		{
			&lease.DeposedError{Leader: "host-1"},
			"janitor host-1 no longer leads, or the registry's mode changed, so nothing was written; see `janitor status`",
		},
		{
			&lease.ClampedError{ID: "i-1", Asked: noon.Add(time.Hour), MaxExpiresAt: noon},
			"cannot extend i-1 to 2026-03-01T13:00:00Z: its maximum expiry is 2026-03-01T12:00:00Z; " +
				"ask for less, or drop --strict to be granted that",
		},
		{
			&lease.ClampedError{ID: "i-1", Asked: noon.Add(time.Hour), MaxExpiresAt: noon, Over: true},
			"cannot extend i-1 to 2026-03-01T13:00:00Z: its maximum expiry, 2026-03-01T12:00:00Z, has passed; " +
				"move that with `lease extend i-1 --max-term 14d`, or launch another",
		},
		{
			&lease.MaxTermError{ID: "i-1", Asked: noon, ExpiresAt: noon.Add(time.Hour)},
			"cannot set the maximum expiry of i-1 to 2026-03-01T12:00:00Z: its lease expires at 2026-03-01T13:00:00Z; use --until and --allow-shorten to move that, too",
		},
		{
			&lease.MaxTermError{ID: "i-1", Asked: noon},
			"cannot set the maximum expiry of i-1 to 2026-03-01T12:00:00Z: its lease does not expire; use --until and --allow-shorten to move that, too",
		},
		{
			&lease.ShortenError{ID: "i-1", Asked: noon, ExpiresAt: noon.Add(time.Hour)},
			"will not shorten i-1 to 2026-03-01T12:00:00Z: its lease expires at 2026-03-01T13:00:00Z; use --allow-shorten if you mean that",
		},
		{
			&lease.ShortenError{ID: "i-1", Asked: noon},
			"will not shorten i-1 to 2026-03-01T12:00:00Z: its lease does not expire; use --allow-shorten if you mean that",
		},
		{
			&lease.LaunchStateError{Token: "t", Verb: "send", State: lease.LaunchClosed, Since: noon, Reason: "window over"},
			"cannot send launch t: it was closed at 2026-03-01T12:00:00Z (window over); `lease show t` lists what it launched",
		},
		{
			&lease.LaunchStateError{Token: "t", Verb: "send", State: lease.LaunchDone},
			"cannot send launch t: it is done; `lease show t` lists what it launched",
		},
		{
			&lease.WindowError{Token: "t", Since: noon},
			"launch t cannot send anything: its window closed at 2026-03-01T12:00:00Z, and the janitor settles it; " +
				"`lease show t` shows how",
		},
		{
			&lease.SchemaError{Kind: "registry", ID: "default", Schema: 1},
			"registry default has schema 1, which this version does not read (it reads 3): use the version that wrote it, " +
				"or create a registry in another namespace with `lease init`",
		},
		{
			&lease.NumberError{ID: "i-1", Number: 1000000000},
			"cannot move the expiry of i-1: its date has number 1000000000, which is the highest; terminate it with `lease revoke i-1`, " +
				"or keep it with `lease unmanage i-1`",
		},
		{&lease.NotFoundError{Kind: "plan"}, "no janitor has published a plan: start `janitor run`, and wait for its first sweep"},
		{gone(lease.ObstacleUnmanaged), "cannot recover the lease of i-1: it is so; `lease adopt` manages it again"},
		{gone(lease.ObstacleUntagged), "cannot recover the lease of i-1: it is so; `lease adopt` manages it"},
		{gone(lease.ObstacleExempt), "cannot recover the lease of i-1: it is so; `lease adopt` manages it anyway"},
		{gone(lease.ObstacleCopied), "cannot recover the lease of i-1: it is so; `lease adopt` gives it a lease"},
		{gone(lease.ObstacleDoubt), "cannot recover the lease of i-1: it is so; `lease adopt` gives it a lease"},
		{gone(lease.ObstacleOpen), "cannot recover the lease of i-1: it is so: `lease launch --id t` resumes it"},
		{gone(lease.ObstacleOrphan), "cannot recover the lease of i-1: it is so, unless `janitor status` shows a brake that holds it back; to keep it, use `lease adopt`"},
		{&lease.OutcomeUnknownError{Verb: "release", Why: "away"}, "it is not known whether the lease was changed (away); repeat `sidecar release`"},
		{&lease.OutcomeUnknownError{Verb: "extend", Until: noon, Why: "away"}, "it is not known whether the lease was changed (away); repeat `sidecar extend --until 2026-03-01T12:00:00Z`"},
		{&sidecar.NotRunningError{Socket: "/run/s", Err: away}, "no sidecar answers at /run/s (deadline exceeded): start it with `systemctl start lapse-sidecar` or `sidecar run`"},
	} {
		if got := Advise(c.err).Error(); got != c.want {
			t.Errorf("%T says\n%s\nwant\n%s", c.err, got, c.want)
		}
		wrapped := Advise(fmt.Errorf("put lease i-1: %w", WithCode(ExitHeld, c.err)))
		if got := wrapped.Error(); got != "put lease i-1: "+c.want {
			t.Errorf("wrapped, it says\n%s", got)
		}
		if !errors.Is(wrapped, c.err) || ExitCode(wrapped) != ExitHeld || Advise(wrapped).Error() != wrapped.Error() {
			t.Errorf("%T is lost behind its advice, or advised twice", c.err)
		}
	}
}

func TestErrorsThatNeedNoAdviceGetNone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, errors.New("any"), Usage("say --yes"), &lease.PastError{}, &lease.LimitError{}, &lease.MalformedError{}, &lease.MismatchError{},
		&lease.StateError{State: lease.StateRevoked}, &lease.StateError{State: lease.StateAdopting}, &lease.SchemaError{Schema: lease.Schema + 1},
		&lease.UnrecoverableError{Obstacle: lease.ObstacleOver},
	} {
		if got := Advise(err); got != err { //nolint:errorlint // the very same
			t.Errorf("%T: %v", err, got)
		}
	}
}

func TestLogsAdviseToo(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"text", "json"} {
		var logged strings.Builder
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.String("log-level", "info", "")
		flags.Bool("log-json", form == "json", "")
		handler, err := logHandler(cli.NewContext(nil, flags, nil), Advise)
		if err != nil {
			t.Fatal(err)
		}
		slog.New(handler(&logged)).Error("cannot read", "error", &lease.NotFoundError{Kind: "checkpoint"}, "n", 1)
		if !strings.Contains(logged.String(), "no janitor has swept yet: start `janitor run`") {
			t.Errorf("%s: %s", form, logged.String())
		}
	}
}
