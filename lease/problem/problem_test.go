package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/problem"
)

type otherError struct{ Why string }

func (e *otherError) Error() string { return e.Why }

func other() problem.Kind { return problem.KindOf[otherError]("other", http.StatusTeapot) }

// cross sends an error over the wire.
func cross(t *testing.T, err error) (problem.Details, error) {
	t.Helper()
	data, failed := json.Marshal(problem.Of(err, other()))
	if failed != nil {
		t.Fatal(failed)
	}
	var got problem.Details
	if failed := json.Unmarshal(data, &got); failed != nil {
		t.Fatal(failed)
	}
	return got, got.Err(other())
}

func TestErrorsKeepTheirFacts(t *testing.T) {
	t.Parallel()
	today := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	crossed := map[string]bool{}
	for _, want := range []error{
		&lease.LimitError{What: "w", Why: "y"},
		&lease.PastError{Time: today, Now: today},
		&lease.ShortenError{ID: "i", Asked: today, ExpiresAt: today},
		&lease.NumberError{ID: "i", Number: 7},
		&lease.ClampedError{ID: "i", Asked: today, MaxExpiresAt: today, Over: true},
		&lease.StateError{ID: "i", Verb: "v", State: lease.StateRevoked, Cause: lease.CauseExpired, Since: today},
		&lease.ConflictError{Kind: "k", ID: "i"},
		&lease.ClaimLostError{ID: "i", By: "b"},
		&lease.NotFoundError{Kind: "k", ID: "i"},
		&lease.SchemaError{Kind: "k", ID: "i", Schema: 2},
		&lease.NotEnrolledError{ID: "i"},
		&lease.UnprovedError{ID: "i", Why: "w"},
		&lease.UncheckedError{ID: "i", Why: "w", After: lease.Duration(time.Second)},
		&lease.KeysError{ID: "i", Again: today},
		&lease.TooOftenError{ID: "i", After: lease.Duration(time.Second)},
		&lease.ContestedError{ID: "i", Verb: "v", Since: today},
		&lease.UnavailableError{Why: "w"},
		&lease.OutcomeUnknownError{Verb: "v", Until: today, Why: "w"},
		&otherError{Why: "w"},
	} {
		said, got := cross(t, fmt.Errorf("put lease i: %w", want))
		if said.Status < 400 || said.Status == 500 || said.Title == "" || got.Error() != "put lease i: "+want.Error() {
			t.Errorf("%T crosses as %+v", want, said)
		}
		if is := errors.Unwrap(got); fmt.Sprintf("%T %+v", is, is) != fmt.Sprintf("%T %+v", want, want) {
			t.Errorf("%T %+v became %T %+v", want, want, is, is)
		}
		crossed[said.Type] = true
	}
	for _, kind := range problem.Kinds() {
		if !crossed["/problems/"+kind.Name] && kind.Name != "malformed" {
			t.Errorf("%s was not tried", kind.Name)
		}
	}
}

func TestErrorsWithoutFactsKeepTheirSentence(t *testing.T) {
	t.Parallel()
	malformed := &lease.MalformedError{Kind: "lease", ID: "i", Err: errors.New("away")}
	if said, got := cross(t, malformed); said.Status == 500 || got.Error() != malformed.Error() || !problem.Known(malformed) {
		t.Errorf("a malformed record crosses as %+v", said)
	}
	if said, got := cross(t, errors.New("away")); said.Status != 500 || got.Error() != "away" || problem.Known(errors.New("away")) {
		t.Errorf("an error of no kind crosses as %+v", said)
	}
	if err := (problem.Details{Type: "/problems/newer", Detail: "m"}).Err(); err.Error() != "m" {
		t.Errorf("an error of a newer version is %q", err)
	}
}

// FuzzErr reads what anybody may answer.
func FuzzErr(f *testing.F) {
	for _, body := range []string{
		`{"type":"/problems/malformed","detail":"m","facts":null}`, `{"type":"/problems/shorten","detail":"m","facts":{"ID":1}}`, `{"type":"/problems/state","detail":"m","facts":{}}`, `{`, `[]`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d problem.Details
		if json.Unmarshal(body, &d) == nil && d.Err(other()) == nil {
			t.Fatalf("%q is no error", body)
		}
	})
}
