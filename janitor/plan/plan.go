// Package plan decides what should happen to instances, leases and launches: a pure function from what was observed to a
// [Plan]. It does no I/O and reads no clock, and what it imports cannot act either.
//
//   - plan.go: [Plan], its [Verdict]s and [Action]s. policy.go: [Policy], every figure that a decision uses.
//   - view.go: [View], what was observed, as values; join.go: [Joined], which has each lease beside its instance and its
//     heartbeat, so that a decision looks nothing up.
//   - decide.go: [Decide], which judges one subject a file: lease.go and heartbeat.go, adopting.go, launch.go (with the
//     instances that a launch left), leftover.go (what outlived those).
//   - keys.go: the two keys of a date, the record and the tag on the instance, and the tags to write.
//   - brakes.go: the table of brakes, and the one stage in which they hold verdicts back; brake_*.go: one brake a file;
//     tally.go: the counts that all of them use.
//   - recheck.go: what a fresh description must still say before a verdict is carried out.
//   - overdue.go: the instances that their records say should be gone and that are not; see [lease.Overdue].
//   - census.go: [Census], the counts of a decision.
package plan

import (
	"cmp"
	"slices"
	"time"

	"lapse/lease"
)

// Action is what a verdict asks for. What is a transition, or is told as an event, has the word for that: see [lease.Action].
type Action string

// Actions. Only ActTerminate and ActOrphan terminate an instance, and both go through the one function that does; so does
// ActRemove, through another one.
const (
	ActNone       Action = "none"                             // nothing to do
	ActReport     Action = "report"                           // nothing to do, but somebody should know
	ActHold       Action = "hold"                             // a brake holds back what would be done
	ActMark              = Action(lease.ActionMark)           // give notice
	ActUnmark            = Action(lease.ActionUnmark)         // take notice back
	ActTerminate         = Action(lease.ActionTerminate)      // revoke, and terminate
	ActFirstSeen         = Action(lease.ActionLaunchSee)      // note the first sighting of an orphan or a leftover
	ActOrphan            = Action(lease.ActionOrphan)         // revoke by creating a revoked lease, and terminate
	ActStuck             = Action(lease.ActionStuck)          // note why an instance cannot be terminated
	ActNoteAbsent        = Action(lease.ActionNoteAbsent)     // note that a revoked instance is not found
	ActNoteSeen          = Action(lease.ActionNoteSeen)       // take that note back
	ActEnd               = Action(lease.ActionEnd)            // EC2 confirmed the termination
	ActReopen            = Action(lease.ActionReopen)         // an ended lease's instance is alive after all
	ActActivate          = Action(lease.ActionActivate)       // an adopted one bears the tag
	ActComplete          = Action(lease.ActionLaunchComplete) // a launch is complete
	ActClose             = Action(lease.ActionLaunchClose)    // a launch is closed
	ActRemove            = Action(lease.ActionRemove)         // remove what outlived a failed creation
	ActClear             = Action(lease.ActionLaunchClear)    // nothing more is to be removed of a closed launch
	ActPurge             = Action(lease.ActionPurge)          // a tombstone has served
	ActRaise             = Action(lease.ActionRaise)          // move the record's date to that of the tag
	ActNoteTag           = Action(lease.ActionNoteTag)        // note the number of a tag that is newer than a revoked record
	ActKeep              = Action(lease.ActionKept)           // note what keeps the instance beyond its date
)

// Actions are all of them.
func Actions() []Action {
	return []Action{
		ActNone, ActReport, ActHold, ActMark, ActUnmark, ActTerminate, ActFirstSeen, ActOrphan, ActStuck, ActNoteAbsent, ActNoteSeen, ActEnd,
		ActReopen, ActActivate, ActComplete, ActClose, ActRemove, ActClear, ActPurge, ActRaise, ActNoteTag, ActKeep,
	}
}

// Verdict is what was decided about one instance, lease, launch or leftover, with its reason. Every instance gets one.
type Verdict struct {
	Action     Action
	InstanceID string
	Token      string // of the launch concerned
	Location   lease.Location
	Zone       string // groups batches
	Cause      lease.Cause
	Deadline   time.Time // of a mark
	Due        time.Time // of an end: since when it is
	Reason     string
	Brake      string           // which brake holds
	FirstSeen  []string         // instances and leftovers of one launch whose first sighting is written together
	Renewal    *Renewal         // what was seen of a lease whose heartbeat is missing
	Tag        lease.Expiry     // the date on the instance's tag, of ActRaise and ActNoteTag
	Kept       lease.KeptReason // of ActKeep and ActStuck, and [lease.KeptUntagged]
	Overdue    lease.Overdue    // should be gone by its record, and is not: see [lease.Circumstances.Overdue]
	// Untracked says that the instance is managed, but no record speaks of it.
	Untracked bool
	ownership ownership // the instance is
	needs     needs     // for which a brake may hold it

	Lease    *lease.Lease // as observed; nil if there is none
	Launch   *lease.Launch
	Instance *lease.Instance
	Leftover *lease.Leftover
}

// LeftoverID is the id of the leftover concerned; empty if the verdict is about something else.
func (v Verdict) LeftoverID() string {
	if v.Leftover == nil {
		return ""
	}
	return v.Leftover.ID
}

// Plan is what decide decided.
type Plan struct {
	Verdicts  []Verdict        // by instance id, then token
	Brakes    []lease.Brake    // by name, then scope
	Behind    map[string]int64 // see [lease.Checkpoint]
	Next      time.Time        // when the passing of time alone will change the plan; zero: not foreseeable
	Enforcing map[string]time.Time
	Seen      map[string]lease.Census // by location that was listed
	Tags      []TagWrite              // what instances are to say of their leases, what passes soonest first
	Decided   time.Time               // by the monotonic clock of whoever has it carried out
}

// With returns the verdicts of these actions.
func (p Plan) With(actions ...Action) []Verdict {
	var chosen []Verdict
	for _, v := range p.Verdicts {
		if slices.Contains(actions, v.Action) {
			chosen = append(chosen, v)
		}
	}
	return chosen
}

// Without returns the other verdicts.
func (p Plan) Without(actions ...Action) []Verdict {
	return slices.DeleteFunc(slices.Clone(p.Verdicts), func(v Verdict) bool { return slices.Contains(actions, v.Action) })
}

// Ends returns the verdicts that terminate an instance.
func (p Plan) Ends() []Verdict { return p.With(ActTerminate, ActOrphan) }

func sortVerdicts(vs []Verdict) {
	slices.SortFunc(vs, func(a, b Verdict) int {
		return cmp.Or(cmp.Compare(a.InstanceID, b.InstanceID), cmp.Compare(a.Token, b.Token),
			cmp.Compare(a.LeftoverID(), b.LeftoverID()), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Reason, b.Reason))
	})
}
