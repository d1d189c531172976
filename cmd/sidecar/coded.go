package main

import (
	"errors"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/sidecar"
)

// coded gives an error of the sidecar its exit code.
func coded(err error) error {
	if short, ok := errors.AsType[*lease.ShortenError](err); ok { // no flag of the sidecar shortens a lease
		advice := "; ask for a later date"
		if short.ExpiresAt.IsZero() {
			advice = ", so there is nothing to extend"
		}
		err = cli.WithAdvice(advice, err)
	}
	if _, ok := errors.AsType[*sidecar.NotRunningError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.UnavailableError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.ForbiddenError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	if _, ok := errors.AsType[*sidecar.ClosedError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	if _, ok := errors.AsType[*sidecar.OutcomeUnknownError](err); ok {
		return cli.WithCode(cli.ExitUnknown, err)
	}
	return err
}
