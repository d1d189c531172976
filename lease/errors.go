package lease

import (
	"cmp"
	"fmt"
	"time"
)

// StateError refuses a transition that the lease's state does not allow: above all, an extension or renewal of a lease
// that was revoked.
type StateError struct {
	ID    string
	Verb  string // what was tried
	State State
	Cause Cause
	Since time.Time
}

func (e *StateError) Error() string {
	s := fmt.Sprintf("cannot %s %s: its lease %s", e.Verb, e.ID, isSince(string(e.State), e.Since))
	if e.Cause != "" {
		s += fmt.Sprintf(" (%s)", e.Cause)
	}
	switch e.State {
	case StateAdopting:
		return s + "; try again after a janitor has seen its tag"
	case StateRevoked, StateEnded:
		return s + "; it cannot be restored, so launch a new instance"
	case StateActive, StateUnmanaged:
	}
	return s
}

// isSince says what something is, and since when, which a record may lack.
func isSince(state string, t time.Time) string {
	switch {
	case t.IsZero():
		return "is " + state
	case state == string(StateRevoked) || state == string(LaunchClosed):
		return "was " + state + " at " + date(t)
	case state == string(StateEnded):
		return "ended at " + date(t)
	}
	return "has been " + state + " since " + date(t)
}

// date prints a time as every message does.
func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// NotFoundError says that the registry has no such record.
type NotFoundError struct {
	Kind string // "lease", "launch", "registry", "checkpoint", "plan", "heartbeat"
	ID   string
}

func (e *NotFoundError) Error() string {
	switch e.Kind {
	case "registry":
		return fmt.Sprintf("no registry in namespace %q", e.ID)
	case "checkpoint":
		return "no janitor has swept yet"
	case "plan":
		return "no janitor has published a plan"
	}
	return fmt.Sprintf("no %s for %q in the registry", e.Kind, e.ID)
}

// ConflictError says that a record changed between read and write, so that nothing was written. Read again, and decide
// again.
type ConflictError struct {
	Kind string
	ID   string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %s was changed by somebody else at the same time, so nothing was written", e.Kind, e.ID)
}

// DeposedError says that a janitor's write was refused because it no longer leads, or because the registry changed.
type DeposedError struct{ Leader string }

func (e *DeposedError) Error() string {
	return fmt.Sprintf("janitor %s no longer leads, or the registry's mode changed, so nothing was written", e.Leader)
}

// ClaimLostError says that a heartbeat is no longer kept alive: its key expired, or another process claimed it. Claim
// again.
type ClaimLostError struct {
	ID string
	By string // boot id of whoever holds the key now; empty if nobody does
}

func (e *ClaimLostError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("the heartbeat of %s is lost; claim it again", e.ID)
	}
	return fmt.Sprintf("the heartbeat of %s was claimed by boot %s; run only one sidecar for this instance", e.ID, e.By)
}

// PastError refuses a date that is not in the future.
type PastError struct{ Time, Now time.Time }

func (e *PastError) Error() string {
	return fmt.Sprintf("the date %s is not in the future (now %s); give a later one",
		date(e.Time), date(e.Now))
}

// ClampedError refuses an expiry past the lease's maximum: when asked to be strict, or when the maximum has passed already,
// so that there is nothing to clamp to.
type ClampedError struct {
	ID           string
	Asked        time.Time
	MaxExpiresAt time.Time
	Over         bool // the maximum expiry has passed
	Alone        bool // MaxExpiresAt is how far the instance may extend its lease itself
}

func (e *ClampedError) Error() string {
	if e.Over {
		return fmt.Sprintf("cannot extend %s to %s: its maximum expiry, %s, has passed", e.ID, date(e.Asked), date(e.MaxExpiresAt))
	}
	if e.Alone {
		return fmt.Sprintf("cannot extend %s to %s: this instance can extend its lease until %s at most", e.ID, date(e.Asked), date(e.MaxExpiresAt))
	}
	return fmt.Sprintf("cannot extend %s to %s: its maximum expiry is %s", e.ID, date(e.Asked), date(e.MaxExpiresAt))
}

// MaxTermError refuses a maximum expiry before the expiry of the lease.
type MaxTermError struct {
	ID        string
	Asked     time.Time
	ExpiresAt time.Time // zero: the lease has no term
}

func (e *MaxTermError) Error() string {
	term := "its lease expires at " + date(e.ExpiresAt)
	if e.ExpiresAt.IsZero() {
		term = "its lease does not expire"
	}
	return fmt.Sprintf("cannot set the maximum expiry of %s to %s: %s", e.ID, date(e.Asked), term)
}

// ShortenError refuses an earlier expiry than the present one.
type ShortenError struct {
	ID        string
	Asked     time.Time
	ExpiresAt time.Time // zero: the lease has no term
}

func (e *ShortenError) Error() string {
	now := "its lease does not expire"
	if !e.ExpiresAt.IsZero() {
		now = "its lease expires at " + date(e.ExpiresAt)
	}
	return fmt.Sprintf("will not shorten %s to %s: %s", e.ID, date(e.Asked), now)
}

// NumberError refuses a date for which no number is left.
type NumberError struct {
	ID     string
	Number int64 // of the present date
}

func (e *NumberError) Error() string {
	return fmt.Sprintf("cannot move the expiry of %s: its date has number %d, which is the highest", e.ID, e.Number)
}

// MismatchError refuses a launch token that was used for another request.
type MismatchError struct{ Token string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("token %s was used for another request; repeat that request exactly, or choose a new token", e.Token)
}

// LaunchStateError refuses a step of a launch that is done or closed.
type LaunchStateError struct {
	Token  string
	Verb   string
	State  LaunchState
	Since  time.Time
	Reason string
}

func (e *LaunchStateError) Error() string {
	s := fmt.Sprintf("cannot %s launch %s: it %s", e.Verb, e.Token, isSince(string(e.State), e.Since))
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	return s
}

// WindowError refuses to send anything for a launch whose window has closed: the janitor settles it now.
type WindowError struct {
	Token string
	Since time.Time
}

func (e *WindowError) Error() string {
	return fmt.Sprintf("launch %s cannot send anything: its window closed at %s, and the janitor settles it", e.Token, date(e.Since))
}

// SchemaError refuses a record, or a registry, written by another version.
type SchemaError struct {
	Kind   string
	ID     string
	Schema int
}

func (e *SchemaError) Error() string {
	if e.Schema < Schema {
		return fmt.Sprintf("%s %s has schema %d, which this version does not read (it reads %d): use the version that wrote it", e.Kind, e.ID, e.Schema, Schema)
	}
	return fmt.Sprintf("%s %s has schema %d, but this version knows only %d: upgrade this program", e.Kind, e.ID, e.Schema, Schema)
}

// MalformedError refuses a record that is not what it should be. Its instance is spared.
type MalformedError struct {
	Kind string
	ID   string
	Err  error
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("%s %s is malformed: %v; fix the record", e.Kind, e.ID, e.Err)
}

func (e *MalformedError) Unwrap() error { return e.Err }

// LimitError refuses an input outside its bounds.
type LimitError struct {
	What string // the name of the input, as users write it
	Why  string // what it must be
}

func (e *LimitError) Error() string { return e.What + " " + e.Why }

// UnavailableError says that the registry did not answer a question. Nothing was written.
type UnavailableError struct{ Why string }

func (e *UnavailableError) Error() string {
	return "the registry does not answer; nothing was changed; try again: " + e.Why
}

// OutcomeUnknownError says that the registry did not answer a write, which may have happened or not. Asking for the
// same date again does no harm.
type OutcomeUnknownError struct {
	Verb  string
	Until time.Time // of an extension: the date to ask for again
	Why   string
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("it is not known whether the lease was changed (%s)", e.Why)
}

// NotEnrolledError says that a key is not, or no longer, enrolled for an instance: enrol it, with proof.
type NotEnrolledError struct{ ID string }

func (e *NotEnrolledError) Error() string {
	return fmt.Sprintf("this key is not enrolled for %s; enrol it with the instance's identity document", e.ID)
}

// UnprovedError refuses an enrolment.
type UnprovedError struct {
	ID  string
	Why string
}

func (e *UnprovedError) Error() string {
	return fmt.Sprintf("cannot enrol a key for %s: %s", e.ID, e.Why)
}

// UncheckedError says that a proof could not be checked just now. Try again.
type UncheckedError struct {
	ID    string
	Why   string
	After Duration // until the next try
}

func (e *UncheckedError) Error() string {
	return fmt.Sprintf("cannot check the proof of %s now; try again in %s: %s", e.ID, e.After, e.Why)
}

// KeysError refuses one key more than an instance may have in use.
type KeysError struct {
	ID    string
	Again time.Time // when one may be replaced; zero: when an operator has settled which instance is the real one
}

func (e *KeysError) Error() string {
	if e.Again.IsZero() {
		return fmt.Sprintf("%s has three keys in use, and they are contested; an operator must keep one", e.ID)
	}
	return fmt.Sprintf("%s has had three keys in use lately; try again at %s, or let an operator keep one", e.ID, date(e.Again))
}

// ContestedError refuses what would end an instance while more than one claims to be it.
type ContestedError struct {
	ID    string
	Verb  string
	Since time.Time
}

func (e *ContestedError) Error() string {
	return fmt.Sprintf("cannot %s %s: since %s two keys are used for it by turns; an operator must keep one", e.Verb, e.ID, date(e.Since))
}

// TooOftenError refuses an instance that has too much written or read. Nothing was done.
type TooOftenError struct {
	ID    string
	Does  string   // what it does too often; empty: it changes its lease
	After Duration // until the next try
}

func (e *TooOftenError) Error() string {
	return fmt.Sprintf("%s %s too often; try again in %s", e.ID, cmp.Or(e.Does, "changes its lease"), e.After)
}
