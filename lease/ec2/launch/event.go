package launch

import (
	"fmt"

	"lapse/lease"
)

// EventKind says what an [Event] is about.
type EventKind string

// Kinds of events.
const (
	EventWarning   EventKind = "warning"
	EventStored    EventKind = "stored"  // the launch is on record: from here on it can be resumed by its token
	EventResumed   EventKind = "resumed" // its record was there before
	EventSending   EventKind = "sending"
	EventThrottled EventKind = "throttled"
	EventDoubt     EventKind = "in doubt"
	EventRefused   EventKind = "refused"
	EventSearching EventKind = "searching" // for what a call has created whose outcome is not known
	EventLaunched  EventKind = "launched"
	EventBound     EventKind = "bound"
)

// Event is one step of a launch, for people who wait.
type Event struct {
	Kind    EventKind
	Token   string
	Attempt lease.Attempt // the attempt at hand; zero if none is
	Warning Warning       // of which, if something can be done about it
	Text    string        // one lowercase sentence
}

// Warning is something of which an [Event] warns.
type Warning string

// Warnings.
const (
	WarnPaused Warning = "paused"  // the registry is: no janitor ends anything
	WarnMode   Warning = "mode"    // the registry's mode is another than armed, with the same effect
	WarnDryRun Warning = "dry-run" // the request says DryRun, which is ignored
	// WarnTokenless is that the endpoint shows no client token, so it ignores them.
	WarnTokenless Warning = "tokenless"
)

// howMany says how many instances there are.
func howMany(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// warn reports what somebody should know before it is too late.
func (l *Launcher) warn(token string, about Warning, text string) {
	l.config.Progress(Event{Kind: EventWarning, Token: token, Warning: about, Text: text})
}

// tell reports a step of a launch.
func (l *Launcher) tell(kind EventKind, launch lease.Launch, text string) {
	e := Event{Kind: kind, Token: launch.Token, Text: text}
	if len(launch.Attempts) > 0 {
		e.Attempt = launch.WithoutSecrets().Last()
	}
	l.config.Progress(e)
}
