package cli

import (
	"context"
	"errors"
	"fmt"

	"lapse/lease"
	"lapse/sidecar"
)

// Exit codes.
const (
	ExitDone    = 0 // done, or so already
	ExitFailed  = 1
	ExitUsage   = 2 // wrong usage
	ExitMissing = 3 // not found: the id, the registry, or the server itself
	ExitRefused = 4 // revoked, mismatch, clamped under --strict, no janitor, wrong clock, wrong version
	ExitHeld    = 5 // a brake holds
	ExitPartly  = 6 // partly done, or less than asked for
	ExitUnknown = 7 // outcome unknown: run again with --id
)

// UsageError is a mistake in how the command was called.
type UsageError struct{ message string }

func (e *UsageError) Error() string { return e.message }

// Usage makes a [UsageError].
func Usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// CodeError gives an error its exit code.
type CodeError struct {
	Code int
	Err  error
}

func (e *CodeError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *CodeError) Unwrap() error { return e.Err }

// WithCode gives err an exit code.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &CodeError{Code: code, Err: err}
}

// QuietError ends the command with a code after everything was printed.
type QuietError struct{ Code int }

func (e *QuietError) Error() string { return "" }

// ExitCode is the exit code of an error, told by its type.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	if e, ok := errors.AsType[*CodeError](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*QuietError](err); ok {
		return e.Code
	}
	switch {
	case Is[*UsageError](err), Is[*lease.LimitError](err), Is[*lease.PastError](err):
		return ExitUsage
	case Is[*lease.NotEnrolledError](err), Is[*lease.UnprovedError](err), Is[*lease.KeysError](err),
		Is[*lease.ContestedError](err), Is[*lease.TooOftenError](err):
		return ExitRefused
	case Is[*lease.NotFoundError](err), Is[*sidecar.NotRunningError](err), Is[*lease.UnavailableError](err), Is[*lease.UncheckedError](err):
		return ExitMissing
	case Is[*lease.StateError](err), Is[*lease.ClampedError](err), Is[*lease.ShortenError](err), Is[*lease.NumberError](err),
		Is[*lease.MaxTermError](err),
		Is[*lease.MismatchError](err), Is[*lease.LaunchStateError](err), Is[*lease.WindowError](err),
		Is[*lease.SchemaError](err), Is[*lease.MalformedError](err), Is[*lease.ConflictError](err),
		Is[*lease.DeposedError](err), Is[*sidecar.ForbiddenError](err), Is[*sidecar.ClosedError](err):
		return ExitRefused
	case errors.Is(err, context.Canceled), Is[*lease.OutcomeUnknownError](err):
		return ExitUnknown
	case errors.Is(err, context.DeadlineExceeded): // of a read; a write says itself that its outcome is unknown
		return ExitMissing
	}
	return ExitFailed
}

// Is reports whether an error of this type is in the chain of err.
func Is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
