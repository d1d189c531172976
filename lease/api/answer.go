package api

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"lapse/lease"
	"lapse/lease/problem"
)

// answerMax is how many bytes of an answer are read: of 1,000 peers, about 1,000 for each.
const answerMax = 1 << 20

// read reads an answer, or the problem that it tells.
func read(resp *http.Response, into any) error {
	body := &io.LimitedReader{R: resp.Body, N: answerMax}
	d := json.NewDecoder(body)
	if resp.StatusCode != http.StatusOK {
		var p problem.Details
		if err := d.Decode(&p); err != nil || p.Detail == "" {
			return &unansweredError{fmt.Errorf("%s", resp.Status)}
		}
		return p.Err()
	}
	switch err := d.Decode(into); {
	case err != nil && body.N == 0: // and this program has little memory
		return &unansweredError{fmt.Errorf("what answers sends more than %d bytes", answerMax)}
	case err != nil:
		return &unansweredError{err}
	}
	return nil
}

// unansweredError says that a call got no answer.
type unansweredError struct{ err error }

func (e *unansweredError) Error() string {
	if untrusted, is := errors.AsType[x509.UnknownAuthorityError](e.err); is {
		return "the certificate of the API is not trusted here (" + untrusted.Error() + "); name its CA"
	}
	return "the API does not answer: " + e.err.Error()
}
func (e *unansweredError) Unwrap() error { return e.err }

// unconnectedError says that no connection came about, so nothing of the call was sent.
type unconnectedError struct{ err error }

func (e *unconnectedError) Error() string { return e.err.Error() }
func (e *unconnectedError) Unwrap() error { return e.err }

// unanswered turns a missing answer to a write into what it means.
func unanswered(err error, unknown lease.OutcomeUnknownError) error {
	if _, is := errors.AsType[*unansweredError](err); !is {
		return err
	}
	if _, is := errors.AsType[*unconnectedError](err); is {
		return &lease.UnavailableError{Why: err.Error()}
	}
	unknown.Why = err.Error()
	return &unknown
}

// noAnswer turns a missing answer to a question into what it means.
func noAnswer(err error) error {
	if _, is := errors.AsType[*unansweredError](err); is {
		return &lease.UnavailableError{Why: err.Error()}
	}
	return err
}

// notAPI is what an answer is that does not speak of this instance: whatever has a certificate of the same CA may answer at the URL.
func notAPI() error {
	return &unansweredError{errors.New("what answers does not speak of this instance, as no API of Lapse does")}
}
