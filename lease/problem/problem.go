// Package problem carries refusals over HTTP: as problem details (RFC 9457), with a sentence for people and the facts from which
// the other end makes the same typed error, found by errors.As.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"lapse/lease"
)

// ContentType is the media type of problem details.
const ContentType = "application/problem+json"

// Details are the members of a problem.
type Details struct {
	Type   string          `json:"type"`  // "/problems/" and the kind of error
	Title  string          `json:"title"` // of the status, in words
	Status int             `json:"status"`
	Detail string          `json:"detail"` // the sentence
	Facts  json.RawMessage `json:"facts,omitempty"`
}

// Kind is the last part of the type.
func (d Details) Kind() string { return strings.TrimPrefix(d.Type, types) }

// types is where kinds have their addresses.
const types = "/problems/"

// Kind of error that may cross.
type Kind struct {
	Name   string
	Status int
	match  func(error) error // the error of this kind in err's chain, or nil
	empty  func() error      // to read the facts into
}

// KindOf is the kind of the errors of type *E.
func KindOf[E any, P interface {
	*E
	error
}](name string, status int,
) Kind {
	return Kind{name, status, func(err error) error {
		var e P
		if errors.As(err, &e) {
			return e
		}
		return nil
	}, func() error { return P(new(E)) }}
}

// Kinds of package lease, by what refuses first.
func Kinds() []Kind {
	return []Kind{
		KindOf[lease.LimitError]("input", http.StatusBadRequest),
		KindOf[lease.PastError]("past", http.StatusUnprocessableEntity),
		KindOf[lease.ShortenError]("shorten", http.StatusConflict),
		KindOf[lease.NumberError]("number", http.StatusConflict),
		KindOf[lease.ClampedError]("clamped", http.StatusConflict),
		KindOf[lease.StateError]("state", http.StatusConflict),
		KindOf[lease.ConflictError]("conflict", http.StatusConflict),
		KindOf[lease.ClaimLostError]("claim-lost", http.StatusConflict),
		KindOf[lease.NotEnrolledError]("not-enrolled", http.StatusUnauthorized),
		KindOf[lease.UnprovedError]("unproved", http.StatusForbidden),
		KindOf[lease.UncheckedError]("unchecked", http.StatusServiceUnavailable),
		KindOf[lease.KeysError]("keys", http.StatusTooManyRequests),
		KindOf[lease.TooOftenError]("too-often", http.StatusTooManyRequests),
		KindOf[lease.ContestedError]("contested", http.StatusForbidden),
		KindOf[lease.NotFoundError]("not-found", http.StatusNotFound),
		KindOf[lease.SchemaError]("schema", http.StatusBadGateway),
		KindOf[lease.MalformedError]("malformed", http.StatusBadGateway), // its cause crosses in the sentence only
		KindOf[lease.UnavailableError]("unavailable", http.StatusServiceUnavailable),
		KindOf[lease.OutcomeUnknownError]("outcome-unknown", http.StatusGatewayTimeout),
	}
}

// Known reports whether an error is of one of the kinds.
func Known(err error, more ...Kind) bool {
	for _, k := range append(Kinds(), more...) {
		if k.match(err) != nil {
			return true
		}
	}
	return false
}

// Of makes the problem of an error. One of no kind is an internal error, whose sentence crosses.
func Of(err error, more ...Kind) Details {
	for _, k := range append(Kinds(), more...) {
		typed := k.match(err)
		if typed == nil {
			continue
		}
		if facts, failed := json.Marshal(typed); failed == nil {
			return Details{Type: types + k.Name, Title: http.StatusText(k.Status), Status: k.Status, Detail: err.Error(), Facts: facts}
		}
	}
	const status = http.StatusInternalServerError
	return Details{Type: types + "failed", Title: http.StatusText(status), Status: status, Detail: err.Error()}
}

// Write answers a request with a problem.
func (d Details) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ContentType)
	w.WriteHeader(d.Status)
	_ = json.NewEncoder(w).Encode(d) // the caller has gone
}

// remoteError is a refusal at the other end: its sentence, around the typed error that it was made of.
type remoteError struct {
	message string
	err     error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.err }

// Err makes the typed error of a problem.
func (d Details) Err(more ...Kind) error {
	for _, k := range append(Kinds(), more...) {
		if types+k.Name != d.Type {
			continue
		}
		typed := k.empty()
		if err := json.Unmarshal(d.Facts, typed); err != nil {
			break
		}
		return &remoteError{message: d.Detail, err: typed}
	}
	return errors.New(strings.TrimSpace(d.Detail))
}
