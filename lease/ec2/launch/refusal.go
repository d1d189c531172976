package launch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lapse/lease"
)

// UnattendedError refuses a launch because no janitor sweeps the location: nothing would terminate the instances.
type UnattendedError struct {
	Location lease.Location
	Last     time.Time // last sweep of any location; zero if there was none
	Named    bool      // that sweep named the location, but is too old
	Swept    []lease.Location
}

func (e *UnattendedError) Error() string {
	s := fmt.Sprintf("no janitor sweeps %s", e.Location)
	switch {
	case e.Last.IsZero():
	case e.Named:
		s += ": the last one did at " + date(e.Last)
	case len(e.Swept) == 0:
		s += ": the sweep at " + date(e.Last) + " did not include it"
	default:
		s += fmt.Sprintf(": the sweep at %s included only %s", date(e.Last), locations(e.Swept))
	}
	return s
}

func locations(all []lease.Location) string {
	var names []string
	for _, location := range all {
		names = append(names, location.String())
	}
	return strings.Join(names, ", ")
}

// TokensIgnoredError refuses a launch because its endpoint ignores client tokens: if an answer was lost, the call could not be
// sent again without creating instances once more.
type TokensIgnoredError struct {
	Location lease.Location
	Product  string // that answers there; empty if that is not how it is known
	Instance string // that was launched with a client token and shows none
}

func (e *TokensIgnoredError) Error() string {
	why := e.Instance + " was launched with one and does not show it"
	if e.Product != "" {
		why = "it is " + e.Product
	}
	return fmt.Sprintf("the EC2 endpoint of %s ignores client tokens (%s), so a launch there could create twice", e.Location, why)
}

// StaleTokenError refuses a generated token older than records are kept: nobody can know any longer what it launched.
type StaleTokenError struct {
	Token     string
	Generated time.Time
}

func (e *StaleTokenError) Error() string {
	return fmt.Sprintf("token %s was generated at %s, and records that old have been deleted", e.Token, date(e.Generated))
}

// LocationError refuses to continue a launch from another account or region than its own.
type LocationError struct {
	Token    string
	Launched lease.Location
	Here     lease.Location
}

func (e *LocationError) Error() string {
	return fmt.Sprintf("launch %s belongs to %s, but this is %s: set AWS_REGION and AWS_PROFILE as they were at the launch", e.Token, e.Launched, e.Here)
}

// RegistryError refuses to send a launch that was frozen for another registry: its instances would be foreign here.
type RegistryError struct {
	Token  string
	Frozen string // UUID of the registry for which it was frozen
	Here   string // UUID of this one
}

func (e *RegistryError) Error() string {
	return fmt.Sprintf("launch %s belongs to registry %s, but this is %s: use the namespace of that registry, or launch again with another token",
		e.Token, e.Frozen, e.Here)
}

// RefusedError says that EC2 refused a launch for good and created nothing. Its token stays used up.
type RefusedError struct {
	Token  string
	Code   string // EC2's
	Reason string // EC2's sentence too, if the record has it
}

func (e *RefusedError) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = e.Code
	}
	return fmt.Sprintf("launch %s created nothing: EC2 refused the request: %s; launch again with another token", e.Token, reason)
}

// UnknownOutcomeError says that EC2 may have created instances and has not told which. Nothing is lost: the same token
// finds them, or the janitor terminates them.
type UnknownOutcomeError struct {
	Token string
	Code  string // EC2's last error code; empty if it gave none
	Err   error
}

func (e *UnknownOutcomeError) Error() string {
	if over, is := errors.AsType[*lease.WindowError](e.Err); is {
		return fmt.Sprintf("the outcome of launch %s is unknown, and its window closed at %s: the janitor settles it", e.Token, date(over.Since))
	}
	return fmt.Sprintf("the outcome of launch %s is unknown (%v)", e.Token, e.Err)
}

func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// UnfinishedError says that a launch did not finish, although it is known what EC2 did so far.
type UnfinishedError struct {
	Token string
	Err   error
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("launch %s is not finished (%v)", e.Token, e.Err)
}

func (e *UnfinishedError) Unwrap() error { return e.Err }

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
