package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lapse/lease"
)

// ExtendRequest asks to move the expiry. Exactly one of For, By and Until is set.
type ExtendRequest struct {
	For    lease.Duration `json:"for,omitzero"`   // from now
	By     lease.Duration `json:"by,omitzero"`    // added to the present expiry
	Until  time.Time      `json:"until,omitzero"` // that date
	Strict bool           `json:"strict,omitzero"`
	Reason string         `json:"reason,omitzero"` // for the lease's history
}

// Extended is what became of an [ExtendRequest].
type Extended struct {
	Asked   time.Time   `json:"asked"`   // the request as a date
	Before  time.Time   `json:"before"`  // the expiry before
	Granted time.Time   `json:"granted"` // the expiry now
	Clamped bool        `json:"clamped"` // less was granted than asked for
	Lease   lease.Lease `json:"lease"`
	// What is doubtful about this machine's clock; absent up to 3 min. See [lease.Reckoning].
	ClockBehind lease.Duration `json:"clock_behind,omitzero"`
	SweepLate   lease.Duration `json:"sweep_late,omitzero"`
}

// ReleaseRequest gives the lease back.
type ReleaseRequest struct {
	Reason string `json:"reason,omitzero"`
}

// ForbiddenError refuses a caller.
type ForbiddenError struct {
	Verb string
	UID  int64 // the caller's user id; -1: unknown
}

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("user id %d may not %s this instance's lease: ask as root", e.UID, e.Verb)
}

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

// refusal is an error as it crosses the socket: a sentence for people, and the facts from which the other end makes the
// same typed error.
type refusal struct {
	Kind    string          `json:"kind"`
	Message string          `json:"message"`
	Facts   json.RawMessage `json:"facts,omitempty"`
}

// kind of error that may cross the socket.
type kind struct {
	name   string
	status int
	match  func(error) error // the error of this kind in err's chain, or nil
	empty  func() error      // to read the facts into
}

func kindOf[E any, P interface {
	*E
	error
}](name string, status int,
) kind {
	return kind{name, status, func(err error) error {
		var e P
		if errors.As(err, &e) {
			return e
		}
		return nil
	}, func() error { return P(new(E)) }}
}

func kinds() []kind {
	return []kind{
		kindOf[lease.LimitError]("input", http.StatusBadRequest),
		kindOf[lease.PastError]("past", http.StatusUnprocessableEntity),
		kindOf[lease.ShortenError]("shorten", http.StatusConflict),
		kindOf[lease.NumberError]("number", http.StatusConflict),
		kindOf[lease.ClampedError]("clamped", http.StatusConflict),
		kindOf[lease.StateError]("state", http.StatusConflict),
		kindOf[lease.ConflictError]("conflict", http.StatusConflict),
		kindOf[lease.NotFoundError]("not-found", http.StatusNotFound),
		kindOf[lease.SchemaError]("schema", http.StatusBadGateway),
		kindOf[lease.MalformedError]("malformed", http.StatusBadGateway), // its cause crosses in the sentence only
		kindOf[ForbiddenError]("forbidden", http.StatusForbidden),
		kindOf[UnavailableError]("unavailable", http.StatusServiceUnavailable),
		kindOf[OutcomeUnknownError]("outcome-unknown", http.StatusGatewayTimeout),
	}
}

// encodeError makes the answer of an error.
func encodeError(err error) (int, refusal) {
	for _, k := range kinds() {
		if typed := k.match(err); typed != nil {
			facts, encErr := json.Marshal(typed)
			if encErr == nil {
				return k.status, refusal{Kind: k.name, Message: err.Error(), Facts: facts}
			}
		}
	}
	return http.StatusInternalServerError, refusal{Kind: "failed", Message: err.Error()}
}

// remoteError is a refusal at the other end: the sidecar's sentence, around the typed error it was made of.
type remoteError struct {
	message string
	err     error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.err }

// decodeError makes the typed error of an answer.
func decodeError(r refusal) error {
	for _, k := range kinds() {
		if k.name != r.Kind {
			continue
		}
		typed := k.empty()
		if err := json.Unmarshal(r.Facts, typed); err != nil {
			break
		}
		return &remoteError{message: r.Message, err: typed}
	}
	return errors.New(r.Message)
}
