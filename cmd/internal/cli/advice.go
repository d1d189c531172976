package cli

import (
	"errors"
	"fmt"
	"time"

	"lapse/lease"
	"lapse/sidecar"
)

// advised is an error with advice for the command line.
type advised struct {
	err    error
	advice string
}

func (e *advised) Error() string { return e.err.Error() + e.advice }

func (e *advised) Unwrap() error { return e.err }

// Advise adds to an error what to do about it at a command line. Packages below the commands know no flags: their
// errors say what is wrong, and carry the facts for the advice. [Run] advises every error that a command returns;
// advise errors that you print otherwise, and those that you wrap in the middle of a sentence.
func Advise(err error) error { return WithAdvice(Advice(err), err) }

// WithAdvice is Advise with the end of the sentence given. An error is advised only once.
func WithAdvice(advice string, err error) error {
	if err == nil || advice == "" || Is[*advised](err) {
		return err
	}
	return &advised{err, advice}
}

// Advice is the end of an error's sentence at a command line, with its punctuation; empty if the error needs none.
func Advice(err error) string {
	return FirstOf(err,
		On(func(e *lease.StateError) string {
			switch e.State {
			case lease.StateAdopting, lease.StateRevoked, lease.StateEnded: // which need no advice
				return ""
			case lease.StateActive, lease.StateUnmanaged:
			}
			return fmt.Sprintf("; see `lease why %s`", e.ID)
		}),
		On(adviseMissing),
		On(func(*lease.ConflictError) string { return "; run this again" }),
		On(func(*lease.DeposedError) string { return "; see `janitor status`" }),
		On(func(e *lease.ClampedError) string {
			if e.Over {
				return fmt.Sprintf("; move that with `lease extend %s --max-term 14d`, or launch another", e.ID)
			}
			return "; ask for less, or drop --strict to be granted that"
		}),
		On(func(*lease.MaxTermError) string { return "; use --until and --allow-shorten to move that, too" }),
		On(func(*lease.ShortenError) string { return "; use --allow-shorten if you mean that" }),
		On(func(e *lease.NumberError) string {
			return fmt.Sprintf("; terminate it with `lease revoke %s`, or keep it with `lease unmanage %s`", e.ID, e.ID)
		}),
		On(func(e *lease.LaunchStateError) string {
			return fmt.Sprintf("; `lease show %s` lists what it launched", e.Token)
		}),
		On(func(e *lease.WindowError) string { return fmt.Sprintf("; `lease show %s` shows how", e.Token) }),
		On(func(e *lease.SchemaError) string {
			if e.Schema < lease.Schema {
				return ", or create a registry in another namespace with `lease init`"
			}
			return ""
		}),
		On(adviseUnrecoverable),
		On(func(e *lease.OutcomeUnknownError) string {
			again := e.Verb
			if !e.Until.IsZero() {
				again += " --until " + e.Until.UTC().Format(time.RFC3339Nano)
			}
			return fmt.Sprintf("; repeat `sidecar %s`", again)
		}),
		On(func(*sidecar.NotRunningError) string {
			return ": start it with `systemctl start lapse-sidecar` or `sidecar run`"
		}),
	)
}

// On gives advice about errors of one type.
func On[E error](advise func(E) string) func(error) (string, bool) {
	return func(err error) (string, bool) {
		e, ok := errors.AsType[E](err)
		if !ok {
			return "", false
		}
		return advise(e), true
	}
}

// FirstOf is the advice of the first function that knows the error.
func FirstOf(err error, all ...func(error) (string, bool)) string {
	for _, about := range all {
		if advice, known := about(err); known {
			return advice
		}
	}
	return ""
}

func adviseMissing(e *lease.NotFoundError) string {
	switch e.Kind {
	case "registry":
		return ": create it with `lease init`, or if it existed and is lost, see `lease recover --help`"
	case "checkpoint":
		return ": start `janitor run`"
	case "plan":
		return ": start `janitor run`, and wait for its first sweep"
	case "heartbeat":
		return ": start `sidecar run` on it"
	}
	return ": find its id with `lease list`"
}

func adviseUnrecoverable(e *lease.UnrecoverableError) string {
	switch e.Obstacle {
	case lease.ObstacleUnmanaged:
		return "; `lease adopt` manages it again"
	case lease.ObstacleUntagged:
		return "; `lease adopt` manages it"
	case lease.ObstacleExempt:
		return "; `lease adopt` manages it anyway"
	case lease.ObstacleCopied, lease.ObstacleDoubt:
		return "; `lease adopt` gives it a lease"
	case lease.ObstacleOpen:
		return fmt.Sprintf(": `lease launch --id %s` resumes it", e.Token)
	case lease.ObstacleOrphan:
		return ", unless `janitor status` shows a brake that holds it back; to keep it, use `lease adopt`"
	case lease.ObstacleForeign, lease.ObstacleLeased, lease.ObstacleUnread, lease.ObstacleOver:
	}
	return ""
}
