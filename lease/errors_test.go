package lease_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

// messages has every error type, in every wording. What to do about it at a command line is said there.
var messages = []struct {
	err  error
	want string
}{
	{
		&lease.StateError{ID: "i-1", Verb: "extend", State: lease.StateRevoked, Cause: lease.CauseHeartbeatLost, Since: noon},
		"cannot extend i-1: its lease was revoked at 2026-03-01T12:00:00Z (heartbeat-lost); it cannot be restored, so launch a new instance",
	},
	{
		&lease.StateError{ID: "i-1", Verb: "unmark", State: lease.StateEnded},
		"cannot unmark i-1: its lease is ended; it cannot be restored, so launch a new instance",
	},
	{
		&lease.StateError{ID: "i-1", Verb: "revoke", State: lease.StateAdopting, Since: noon.In(time.FixedZone("", 3600))},
		"cannot revoke i-1: its lease has been adopting since 2026-03-01T12:00:00Z; try again after a janitor has seen its tag",
	},
	{
		&lease.StateError{ID: "i-1", Verb: "extend", State: lease.StateUnmanaged, Since: noon},
		"cannot extend i-1: its lease has been unmanaged since 2026-03-01T12:00:00Z",
	},
	{&lease.NotFoundError{Kind: "lease", ID: "i-1"}, "no lease for \"i-1\" in the registry"},
	{&lease.NotFoundError{Kind: "launch", ID: "t"}, "no launch for \"t\" in the registry"},
	{
		&lease.NotFoundError{Kind: "registry", ID: "default"},
		"no registry in namespace \"default\"",
	},
	{&lease.NotFoundError{Kind: "checkpoint"}, "no janitor has swept yet"},
	{&lease.NotFoundError{Kind: "plan"}, "no janitor has published a plan"},
	{
		&lease.NotFoundError{Kind: "heartbeat", ID: "i-1"},
		"no heartbeat for \"i-1\" in the registry",
	},
	{
		&lease.ConflictError{Kind: "lease", ID: "i-1"},
		"lease i-1 was changed by somebody else at the same time, so nothing was written",
	},
	{
		&lease.DeposedError{Leader: "host-1"},
		"janitor host-1 no longer leads, or the registry's mode changed, so nothing was written",
	},
	{&lease.ClaimLostError{ID: "i-1"}, "the heartbeat of i-1 is lost; claim it again"},
	{
		&lease.ClaimLostError{ID: "i-1", By: "b-2"},
		"the heartbeat of i-1 was claimed by boot b-2; run only one sidecar for this instance",
	},
	{
		&lease.PastError{Time: noon, Now: noon.In(time.FixedZone("", 3600))},
		"the date 2026-03-01T12:00:00Z is not in the future (now 2026-03-01T12:00:00Z); give a later one",
	},
	{
		&lease.ClampedError{ID: "i-1", Asked: at(time.Hour), MaxExpiresAt: noon},
		"cannot extend i-1 to 2026-03-01T13:00:00Z: its maximum expiry is 2026-03-01T12:00:00Z",
	},
	{
		&lease.ClampedError{ID: "i-1", Asked: at(time.Hour), MaxExpiresAt: noon, Over: true},
		"cannot extend i-1 to 2026-03-01T13:00:00Z: its maximum expiry, 2026-03-01T12:00:00Z, has passed",
	},
	{
		&lease.ClampedError{ID: "i-1", Asked: at(time.Hour), MaxExpiresAt: noon, Alone: true},
		"cannot extend i-1 to 2026-03-01T13:00:00Z: this instance can extend its lease until 2026-03-01T12:00:00Z at most",
	},
	{
		&lease.MaxTermError{ID: "i-1", Asked: noon, ExpiresAt: at(time.Hour)},
		"cannot set the maximum expiry of i-1 to 2026-03-01T12:00:00Z: its lease expires at 2026-03-01T13:00:00Z",
	},
	{
		&lease.MaxTermError{ID: "i-1", Asked: noon},
		"cannot set the maximum expiry of i-1 to 2026-03-01T12:00:00Z: its lease does not expire",
	},
	{
		&lease.ShortenError{ID: "i-1", Asked: noon, ExpiresAt: at(time.Hour)},
		"will not shorten i-1 to 2026-03-01T12:00:00Z: its lease expires at 2026-03-01T13:00:00Z",
	},
	{
		&lease.ShortenError{ID: "i-1", Asked: noon},
		"will not shorten i-1 to 2026-03-01T12:00:00Z: its lease does not expire",
	},
	{
		&lease.MismatchError{Token: "t"},
		"token t was used for another request; repeat that request exactly, or choose a new token",
	},
	{
		&lease.LaunchStateError{Token: "t", Verb: "send", State: lease.LaunchClosed, Since: noon, Reason: "window over"},
		"cannot send launch t: it was closed at 2026-03-01T12:00:00Z (window over)",
	},
	{
		&lease.LaunchStateError{Token: "t", Verb: "send", State: lease.LaunchDone},
		"cannot send launch t: it is done",
	},
	{
		&lease.WindowError{Token: "t", Since: noon.In(time.FixedZone("", 3600))},
		"launch t cannot send anything: its window closed at 2026-03-01T12:00:00Z, and the janitor settles it",
	},
	{
		&lease.SchemaError{Kind: "lease", ID: "i-1", Schema: 9},
		"lease i-1 has schema 9, but this version knows only 3: upgrade this program",
	},
	{
		&lease.SchemaError{Kind: "registry", ID: "default", Schema: 1},
		"registry default has schema 1, which this version does not read (it reads 3): use the version that wrote it",
	},
	{
		&lease.NumberError{ID: "i-1", Number: 1000000000},
		"cannot move the expiry of i-1: its date has number 1000000000, which is the highest",
	},
	{
		&lease.MalformedError{Kind: "lease", ID: "i-1", Err: io.ErrUnexpectedEOF},
		"lease i-1 is malformed: unexpected EOF; fix the record",
	},
	{&lease.UnavailableError{Why: "deadline exceeded"}, "the registry does not answer; nothing was changed; try again: deadline exceeded"},
	{&lease.OutcomeUnknownError{Verb: "extend", Why: "deadline exceeded"}, "it is not known whether the lease was changed (deadline exceeded)"},
	{&lease.NotEnrolledError{ID: "i-1"}, "this key is not enrolled for i-1; enrol it with the instance's identity document"},
	{&lease.UnprovedError{ID: "i-1", Why: "its document is forged"}, "cannot enrol a key for i-1: its document is forged"},
	{&lease.UncheckedError{ID: "i-1", Why: "EC2 does not know it yet", After: lease.Duration(5 * time.Second)}, "cannot check the proof of i-1 now; try again in 5s: EC2 does not know it yet"},
	{&lease.KeysError{ID: "i-1", Again: noon}, "i-1 has had three keys in use lately; try again at 2026-03-01T12:00:00Z, or let an operator keep one"},
	{&lease.KeysError{ID: "i-1"}, "i-1 has three keys in use, and they are contested; an operator must keep one"},
	{&lease.ContestedError{ID: "i-1", Verb: "release", Since: noon}, "cannot release i-1: since 2026-03-01T12:00:00Z two keys are used for it by turns; an operator must keep one"},
	{&lease.TooOftenError{ID: "i-1", After: lease.Duration(10 * time.Second)}, "i-1 changes its lease too often; try again in 10s"},
	{&lease.TooOftenError{ID: "i-1", Does: "asks for its peers", After: lease.Duration(2 * time.Second)}, "i-1 asks for its peers too often; try again in 2s"},
	{lease.CheckHeartbeatTimeout(time.Second), "heartbeat timeout 1s must be between 5s and 1h0m0s"},
	{lease.CheckReason(strings.Repeat("x", 201)), "reason of 201 bytes must have at most 200 bytes"},
	{lease.CheckLabels(map[string]string{strings.Repeat("k", 129): "v"}), `label "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" must have at most 128 bytes before the = and 256 after it`},
	{lease.CheckLabels(map[string]string{"team": strings.Repeat("v", 257)}), `label "team=vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv" must have at most 128 bytes before the = and 256 after it`},
	{lease.CheckCount(0), "count 0 must be between 1 and 1000"},
	{lease.CheckToken("a\n"), `launch token "a\n" must be 1 to 60 of the characters A-Z a-z 0-9 and -`},
	{lease.CheckToken("i-1"), `launch token "i-1" must not start with i-, as instance ids do`},
}

func TestAnErrorIsOneLowercaseSentenceWithoutFlagsOrCommands(t *testing.T) {
	t.Parallel()
	sentence := regexp.MustCompile(`^[a-z][^\n]*[^.!?\s]$`)
	cli := regexp.MustCompile("--[a-z]|`")
	for _, m := range messages {
		got := m.err.Error()
		if got != m.want {
			t.Errorf("%T says\n%s\nwant\n%s", m.err, got, m.want)
		}
		if !sentence.MatchString(got) || strings.Contains(got, ". ") || cli.MatchString(got) {
			t.Errorf("%T is not one lowercase sentence without flags and commands: %s", m.err, got)
		}
	}
}

func TestEveryErrorTypeHasAMessageHere(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, m := range messages {
		shown[reflect.TypeOf(m.err).Elem().Name()] = true
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && strings.HasSuffix(spec.Name.Name, "Error") {
			found++
			if !shown[spec.Name.Name] {
				t.Errorf("no message of %s is checked", spec.Name.Name)
			}
		}
		return true
	})
	if found == 0 || found != len(shown) {
		t.Errorf("%d error types in errors.go, %d checked", found, len(shown))
	}
}

func TestWrappedErrorsAreFound(t *testing.T) {
	t.Parallel()
	for _, m := range messages {
		wrapped := fmt.Errorf("put lease i-1: %w", m.err)
		if !errors.Is(wrapped, m.err) {
			t.Errorf("%T is lost", m.err)
		}
	}
	if !errors.Is(&lease.MalformedError{Err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF) {
		t.Error("a MalformedError hides its cause")
	}
}
