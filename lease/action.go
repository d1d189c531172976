package lease

// Action is something that can happen to a lease, a launch, an instance or a registry. Histories, plans, the audit log and
// metrics all use these words. A history may hold others, which a newer version wrote.
type Action string

// Transitions of a lease, as its history stores them.
const (
	ActionBind     Action = "bind"     // the lease of an instance that a launch made
	ActionOrphan   Action = "orphan"   // a revoked lease for what a failed creation left
	ActionAdopt    Action = "adopt"    // the lease of an instance that others launched
	ActionActivate Action = "activate" // an adopted instance bears the tag
	ActionRecover  Action = "recover"  // the lease was rebuilt from tags
	ActionCatchUp  Action = "catch up" // a person declared the record, older than its sidecar has seen, to be the newest
	ActionClaim    Action = "claim"    // a sidecar renewed for the first time
	ActionExtend   Action = "extend"   // the expiry was moved, or a mark was cured
	ActionShorten  Action = "shorten"  // the expiry was moved to an earlier date
	ActionMaxTerm  Action = "max-term" // the latest date to which the expiry may be moved was moved
	ActionRaise    Action = "raise"    // the expiry was moved to the date on the instance's tag
	ActionMark     Action = "mark"     // a termination was announced
	ActionUnmark   Action = "unmark"   // an announced termination was cancelled
	ActionKept     Action = "keep"     // something keeps the instance beyond its date
	ActionNoteTag  Action = "note-tag" // the tag is newer than the record of a revoked lease
	ActionRevoke   Action = "revoke"   // no more renewals or extensions are accepted
	ActionStuck    Action = "stuck"    // something forbids the termination, or no longer does
	ActionEnd      Action = "end"      // EC2 confirmed the termination
	ActionReopen   Action = "reopen"   // the instance of an ended lease runs after all
	ActionContest  Action = "contest"  // two keys are used by turns in the name of one instance
	ActionVouch    Action = "vouch"    // the instance was proved to run, and cannot renew
	ActionSettle   Action = "settle"   // neither is so any more
	ActionUnmanage Action = "unmanage" // Lapse leaves the instance alone
)

// What is written into the record of a lease without a transition, and what its history cannot tell.
const (
	ActionRetry      Action = "retry"       // another attempt to terminate the instance of a revoked lease
	ActionNoteAbsent Action = "note-absent" // a look-up by id did not find the instance
	ActionNoteSeen   Action = "note-seen"   // a look-up by id found it after all
	ActionPurge      Action = "purge"       // the record was deleted, also of a launch
	ActionForget     Action = "forget"      // the lease changed more often than its record remembers
)

// What happens to the keys with which an instance calls the API.
const (
	ActionEnrol  Action = "enrol"  // a key was proved to be the instance's
	ActionInvite Action = "invite" // an operator made a join token for it
)

// What is done to an instance or a leftover, and what came of it.
const (
	ActionAuthorise Action = "authorise" // said before anything is done that leads to a termination or a removal
	ActionTerminate Action = "terminate" // EC2 accepted the call
	ActionRemove    Action = "remove"    // EC2 removed a leftover, or no longer knew it
	ActionSpare     Action = "spare"     // a fresh description or the registry said no
	ActionRefuse    Action = "refuse"    // EC2 said no
	ActionFail      Action = "fail"      // a read, a write or a call failed, and will be tried again
)

// What happens to a launch.
const (
	ActionLaunchOpen     Action = "launch-open"
	ActionLaunchAnswer   Action = "launch-answer" // EC2 answered an attempt with instances
	ActionLaunchRefuse   Action = "launch-refuse" // EC2 refused an attempt
	ActionLaunchComplete Action = "launch-complete"
	ActionLaunchClose    Action = "launch-close"
	ActionLaunchSee      Action = "launch-see"   // the first sighting of what it left
	ActionLaunchClear    Action = "launch-clear" // nothing of it is left to be removed
)

// What happens to a registry and its janitors.
const (
	ActionObserve        Action = "observe"
	ActionArm            Action = "arm"
	ActionPause          Action = "pause"
	ActionBrakeEngage    Action = "brake-engage"
	ActionBrakeDisengage Action = "brake-disengage" // what had engaged it is gone, or a person released it
	ActionBrakeRelease   Action = "brake-release"   // a person released it
	ActionLead           Action = "lead"            // a janitor was elected
	ActionLeave          Action = "leave"           // it gave the leadership up, or lost it
	ActionAuditFail      Action = "audit-fail"      // an event was not written to the audit log
	ActionAuditResume    Action = "audit-resume"    // events are written to the audit log again
)

// Action is what a person does who sets this mode.
func (m Mode) Action() Action {
	switch m {
	case ModeArmed:
		return ActionArm
	case ModePaused:
		return ActionPause
	case ModeObserve:
	}
	return ActionObserve
}
