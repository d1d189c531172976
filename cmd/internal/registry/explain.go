package registry

import (
	"cmp"
	"errors"
	"io/fs"
	"syscall"

	"lapse/cmd/internal/cli"
	"lapse/lease/etcd"
)

// Explain adds to an error of etcd what to do about it, and its exit code. It leaves others alone.
func Explain(err error) error {
	err = cli.WithAdvice(ofEtcd(err), err)
	switch {
	case cli.Is[*cli.CodeError](err):
		return err
	case etcd.Denied(err), cli.Is[*etcd.VersionError](err):
		return cli.WithCode(cli.ExitRefused, err)
	case cli.Is[*etcd.UnreachableError](err):
		return cli.WithCode(cli.ExitMissing, err)
	}
	return err
}

// Advise is [cli.Advise], for errors of etcd too.
func Advise(err error) error { return cli.Advise(Explain(err)) }

// Advice is [cli.Advice], for errors of etcd too.
func Advice(err error) string { return cmp.Or(ofEtcd(err), cli.Advice(err)) }

// ExitCode is [cli.ExitCode], for errors of etcd too.
func ExitCode(err error) int { return cli.ExitCode(Explain(err)) }

func ofEtcd(err error) string { return cli.FirstOf(err, cli.On(adviseUnreached), adviseDenied) }

func adviseUnreached(e *etcd.UnreachableError) string {
	switch {
	case etcd.Denied(e.Err):
		return ": it asks for users; give --etcd-cert with a certificate whose common name is a user"
	case errors.Is(e.Err, fs.ErrPermission): // which needs no advice
		return ""
	case errors.Is(e.Err, fs.ErrNotExist):
		return ": start `janitor run --embedded-etcd`, or give --etcd-endpoints"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return ": start it, or correct --etcd-endpoints"
	}
	return ": check --etcd-endpoints, that etcd runs, and the certificates"
}

// adviseDenied is about what etcd's authentication refuses.
func adviseDenied(err error) (string, bool) {
	return ": the user of --etcd-cert may not do that; `lease doctor` shows what it may", etcd.Denied(err)
}
