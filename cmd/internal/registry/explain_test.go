package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	ucli "github.com/urfave/cli/v2"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

func TestAnErrorOfEtcdSaysWhatToDoAtACommandLine(t *testing.T) {
	t.Parallel()
	away := errors.New("deadline exceeded")
	at := []string{"http://etcd:2379"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&etcd.UnreachableError{Endpoints: at, Err: fs.ErrNotExist}, "no etcd at http://etcd:2379 (no such socket): start `janitor run --embedded-etcd`, or give --etcd-endpoints"},
		{&etcd.UnreachableError{Endpoints: at, Err: syscall.ECONNREFUSED}, "no etcd listens at http://etcd:2379 (connection refused): start it, or correct --etcd-endpoints"},
		{&etcd.UnreachableError{Endpoints: at, Err: away}, "no etcd answers at http://etcd:2379 (deadline exceeded): check --etcd-endpoints, that etcd runs, and the certificates"},
		{
			&etcd.UnreachableError{Endpoints: at, Err: rpctypes.ErrUserEmpty},
			"etcd at http://etcd:2379 refuses this client (etcdserver: user name is empty): it asks for users; " +
				"give --etcd-cert with a certificate whose common name is a user",
		},
		{
			fmt.Errorf("read lease i-1: %w", rpctypes.ErrPermissionDenied),
			"read lease i-1: etcdserver: permission denied: the user of --etcd-cert may not do that; `lease doctor` shows what it may",
		},
		{&lease.NotFoundError{Kind: "checkpoint"}, "no janitor has swept yet: start `janitor run`"},
	} {
		if got := Advise(c.err).Error(); got != c.want {
			t.Errorf("%T says\n%s\nwant\n%s", c.err, got, c.want)
		}
		wrapped := Advise(fmt.Errorf("put lease i-1: %w", cli.WithCode(cli.ExitHeld, c.err)))
		if got := wrapped.Error(); got != "put lease i-1: "+c.want {
			t.Errorf("wrapped, it says\n%s", got)
		}
		if !errors.Is(wrapped, c.err) || cli.ExitCode(wrapped) != cli.ExitHeld || Advise(wrapped).Error() != wrapped.Error() {
			t.Errorf("%T is lost behind its advice, or advised twice", c.err)
		}
	}
}

func TestErrorsOfEtcdThatNeedNoAdviceGetNone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("any"), &etcd.UnreachableError{Err: fs.ErrPermission}, &etcd.VersionError{}} {
		if got := Advise(err); got.Error() != err.Error() {
			t.Errorf("%T: %v", err, got)
		}
	}
	if Explain(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestExitCodesOfEtcd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, cli.ExitDone},
		{errors.New("any"), cli.ExitFailed},
		{&etcd.UnreachableError{Err: context.DeadlineExceeded}, cli.ExitMissing},
		{&etcd.UnreachableError{Err: context.Canceled}, cli.ExitMissing},
		{&etcd.UnreachableError{Err: rpctypes.ErrUserEmpty}, cli.ExitRefused},
		{rpctypes.ErrPermissionDenied, cli.ExitRefused},
		{&etcd.VersionError{}, cli.ExitRefused},
		{&lease.NotFoundError{}, cli.ExitMissing},
		{cli.WithCode(cli.ExitHeld, rpctypes.ErrPermissionDenied), cli.ExitHeld},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v is %d, want %d", c.err, got, c.want)
		}
	}
}

// Not parallel: urfave/cli keeps settings of an app in variables of its own.
func TestAProgramThatOpensTheRegistryExplainsErrorsOfEtcd(t *testing.T) {
	denied := fmt.Errorf("read lease i-1: %w", rpctypes.ErrPermissionDenied)
	const want = "etcdserver: permission denied: the user of --etcd-cert may not do that"
	for name, flags := range map[string][]ucli.Flag{"a command": nil, "a service": cli.LogFlags()} {
		var out, errs strings.Builder
		app := Equip(&ucli.App{Name: "app", Commands: []*ucli.Command{{Name: "run", Flags: flags, Action: func(c *ucli.Context) error {
			if flags == nil {
				return denied
			}
			log, err := cli.ServiceLogger(c)
			if err == nil {
				log.ErrorContext(c.Context, "cannot read", slog.Any("error", denied))
				err = &cli.QuietError{Code: cli.ExitRefused}
			}
			return err
		}}}})
		if code := cli.Run(t.Context(), app, []string{"app", "run"}, &out, &errs); code != cli.ExitRefused || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d, %s", name, code, &errs)
		}
	}
}
