package janitor

import (
	"cmp"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// EventKind says what happened.
type EventKind string

// Kinds of events. What others do to a lease has the kinds of leases too, as its history tells it.
const (
	// Of a lease: transitions that were written.
	EventMarked     EventKind = "marked"
	EventUnmarked   EventKind = "unmarked"
	EventRevoked    EventKind = "revoked"
	EventAuthorised EventKind = "authorised" // a try to end the instance of a lease that was revoked before
	EventStuck      EventKind = "stuck"
	EventAbsent     EventKind = "absent"
	EventSeen       EventKind = "seen"
	EventEnded      EventKind = "ended" // EC2 confirmed it
	EventReopened   EventKind = "reopened"
	EventActivated  EventKind = "activated"
	EventPurged     EventKind = "purged" // also of a launch
	EventRaised     EventKind = "raised" // to the date on the instance's tag
	EventTagNoted   EventKind = "tag-noted"
	EventKept       EventKind = "kept" // something keeps the instance beyond its date

	// Of an instance: that its end is being authorised, before its lease is revoked, or tried again; then what came of
	// that.
	EventAuthorising EventKind = "authorising"
	// Of an instance: what came of ending it; all but the first also of a leftover, and of removing it.
	EventTerminating EventKind = "terminating" // EC2 accepted
	EventSpared      EventKind = "spared"      // a fresh look, or the registry, said no
	EventRefused     EventKind = "refused"     // EC2 did
	EventFailed      EventKind = "failed"      // a read, a write or a call failed; to be tried again

	// Of a launch.
	EventOpened   EventKind = "launch-opened"
	EventAnswered EventKind = "launch-answered" // EC2 answered an attempt with instances
	EventDeclined EventKind = "launch-refused"  // EC2 refused an attempt
	EventLooked   EventKind = "launch-looked"   // the first look at what it left
	EventDone     EventKind = "launch-done"
	EventClosed   EventKind = "launch-closed"
	EventRemoving EventKind = "launch-removing" // the removal of a leftover was authorised
	EventRemoved  EventKind = "launch-removed"  // EC2 removed a leftover, or did not know it any more
	EventCleared  EventKind = "launch-cleared"  // nothing more is to be removed of it

	// Of the registry and its janitor. A change of the mode has the name of the mode as its kind.
	EventBrakeEngaged  EventKind = "brake-engaged"
	EventBrakeReleased EventKind = "brake-released"
	EventBrakeRelease  EventKind = "brake-release" // a person lifted it
	EventElected       EventKind = "elected"
	EventLeft          EventKind = "left"      // gave the leadership up, or lost it
	EventUnaudited     EventKind = "unaudited" // an event could not be written to the audit log; there, that events before it are missing
	EventAudited       EventKind = "audited"   // events are written to the audit log again; told to observers alone
	EventForgotten     EventKind = "forgotten" // a lease changed more often than its record remembers
)

// Event is one transition or refusal, told when it has happened.
type Event struct {
	Time       time.Time   `json:"time"`
	Kind       EventKind   `json:"kind"`
	InstanceID string      `json:"instance_id,omitzero"`
	Leftover   string      `json:"leftover,omitzero"` // id of what a launch left beside instances
	Launch     string      `json:"launch,omitzero"`   // token
	Location   string      `json:"location,omitzero"` // account/region
	Zone       string      `json:"zone,omitzero"`
	Actor      string      `json:"actor,omitzero"` // empty where the registry does not say who
	Cause      lease.Cause `json:"cause,omitzero"`
	Brake      string      `json:"brake,omitzero"`
	Scope      string      `json:"scope,omitzero"` // of a brake; empty: everywhere
	Reason     string      `json:"reason,omitzero"`
	Evidence   Evidence    `json:"evidence,omitzero"`
	Revision   int64       `json:"revision,omitzero"` // etcd's, of the record as written
	RequestID  string      `json:"aws_request_id,omitzero"`
	Code       string      `json:"ec2_code,omitzero"` // EC2's error code

	Own     bool  `json:"-"` // done by this janitor
	changes int64 // change counter of the lease as written
}

// Evidence is what an event rested on.
type Evidence struct {
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Before    time.Time `json:"expires_before,omitzero"` // the term before an extension
	// MaxExpiresAt is the latest date to which the lease may be extended, and MaxBefore what that was, where it was moved.
	MaxExpiresAt time.Time           `json:"max_expires_at,omitzero"`
	MaxBefore    time.Time           `json:"max_expires_before,omitzero"`
	Mark         *lease.Mark         `json:"mark,omitempty"`
	Silent       lease.Duration      `json:"silent,omitzero"`      // by the leader's own clock
	Witness      bool                `json:"witness,omitzero"`     // another lease of the zone renewed meanwhile
	Looked       time.Time           `json:"looked,omitzero"`      // first full look at what a launch left
	RevokedAt    time.Time           `json:"revoked_at,omitzero"`  //
	Due          time.Time           `json:"due,omitzero"`         // when the end was due
	Tries        int                 `json:"tries,omitzero"`       // authorised so far
	EC2          lease.InstanceState `json:"ec2_state,omitzero"`   // as EC2 said last
	Instances    []string            `json:"instances,omitempty"`  // of a launch
	Mode         lease.Mode          `json:"mode_before,omitzero"` // of the registry, before it was set
}

// Observer is told what a janitor does and sees, for metrics and health. Its methods are called by many goroutines, and
// must not wait for anything.
type Observer interface {
	// Turned says that the janitor's loop goes round, and that it will again within so long; 0: it waits to be elected.
	Turned(within time.Duration)
	// Led says under which name the janitor leads from now on; empty: it does not.
	Led(name string)
	// Checkpoint is told each checkpoint of a sweep that the janitor writes or reads.
	Checkpoint(s lease.Checkpoint)
	// Swept is told how long a sweep took, and why it failed if it did.
	Swept(took time.Duration, err error)
	// Counted is told what each decision was about.
	Counted(c plan.Census)
	// Happened is told each event.
	Happened(e Event)
}

// blind is the observer of a janitor that nobody observes.
type blind struct{}

func (blind) Turned(time.Duration)        {}
func (blind) Led(string)                  {}
func (blind) Checkpoint(lease.Checkpoint) {}
func (blind) Swept(time.Duration, error)  {}
func (blind) Counted(plan.Census)         {}
func (blind) Happened(Event)              {}

// tell tells an event to the observer, and has it written to the audit log. It waits for nothing.
func (j *Janitor) tell(e Event) {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	j.Observe.Happened(e)
	if j.scribe != nil {
		j.scribe.post(e)
	}
}

// record is tell for what must not happen unrecorded: it fails unless the audit log has it, within 5 s.
func (j *Janitor) record(e Event) error {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	j.Observe.Happened(e)
	if j.scribe == nil {
		return nil
	}
	return j.scribe.record(e)
}

// unaudited says that an event was not written to the audit log.
func (j *Janitor) unaudited(e Event, err error) {
	j.Log.Error("not written to the audit log", "kind", string(e.Kind), "instance_id", e.InstanceID, "launch", e.Launch, "error", err)
	j.Observe.Happened(Event{Time: j.Now().UTC().Truncate(time.Millisecond), Kind: EventUnaudited, Reason: err.Error(), Own: true})
}

// auditedAgain says that events are written to the audit log again.
func (j *Janitor) auditedAgain() {
	j.Log.Info("the audit log is written again")
	j.Observe.Happened(Event{Time: j.Now().UTC().Truncate(time.Millisecond), Kind: EventAudited, Own: true})
}

// eventOf is what a verdict and its evidence say of something that happened to it.
func eventOf(v plan.Verdict, kind EventKind) Event {
	e := Event{
		Kind: kind, InstanceID: v.InstanceID, Leftover: v.LeftoverID(), Launch: v.Token, Location: v.Location.String(), Zone: v.Zone, Cause: v.Cause,
		Reason: v.Reason, Evidence: Evidence{Due: v.Due, Instances: v.Looked},
	}
	if v.Instance != nil {
		e.Evidence.EC2 = v.Instance.State
	}
	if v.Silence != nil {
		e.Evidence.Silent, e.Evidence.Witness = lease.Duration(v.Silence.For.Round(time.Millisecond)), v.Silence.Witness
	}
	if v.Lease != nil {
		e.Evidence.ExpiresAt, e.Evidence.Mark = v.Lease.ExpiresAt, v.Lease.Mark
		e.Evidence.RevokedAt, e.Evidence.Tries = v.Lease.RevokedAt, v.Lease.Tries
	}
	if v.Launch != nil {
		e.Evidence.Looked = v.Launch.Looks[cmp.Or(v.InstanceID, v.LeftoverID())]
	}
	return e
}

// failedOf is the event of something that could not be done.
func failedOf(v plan.Verdict, err error) Event {
	e := eventOf(v, EventFailed)
	e.Reason = string(v.Action) + ": " + err.Error()
	return e
}

// kindOfAction is the kind of the event that carrying out a verdict is.
func kindOfAction(a plan.Action) EventKind {
	switch a {
	case plan.ActMark:
		return EventMarked
	case plan.ActUnmark:
		return EventUnmarked
	case plan.ActStuck:
		return EventStuck
	case plan.ActAbsent:
		return EventAbsent
	case plan.ActSeen:
		return EventSeen
	case plan.ActConfirm:
		return EventEnded
	case plan.ActReopen:
		return EventReopened
	case plan.ActActivate:
		return EventActivated
	case plan.ActLook:
		return EventLooked
	case plan.ActDone:
		return EventDone
	case plan.ActClose:
		return EventClosed
	case plan.ActClear:
		return EventCleared
	case plan.ActPurge:
		return EventPurged
	case plan.ActRaise:
		return EventRaised
	case plan.ActNoteTag:
		return EventTagNoted
	case plan.ActKept:
		return EventKept
	case plan.ActEnd, plan.ActOrphan:
		return EventRevoked
	case plan.ActRemove:
		return EventRemoving
	case plan.ActKeep, plan.ActReport, plan.ActHold:
	}
	return EventKind(a)
}
