package lease

import (
	"slices"
	"time"
)

// Brake is a reason for which the janitor ends less than it would: more trouble never means faster killing.
type Brake struct {
	Name   string    `json:"name"`            // heartbeats, rate, rollback, unwatched, clock, health
	Scope  string    `json:"scope,omitempty"` // zone, location or instance; empty: everywhere
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	Count  int       `json:"count,omitzero"` // how many leases or instances engaged it, where it counts
	// Changes is the change of its lease that a sidecar has seen, of the brake rollback that holds one lease: its scope.
	Changes int64 `json:"changes,omitzero"`
	// Starting says that nothing is wrong: a leader has not written a checkpoint of its own yet, and the next sweep will.
	Starting bool `json:"starting,omitzero"`
}

// Brakes that a person can release. Rollback and unwatched stay engaged until somebody does; heartbeats also ends with its
// cause. The others end with their cause alone.
const (
	BrakeRollback   = "rollback"   // the registry was set back to an older state, which does not know of later extensions
	BrakeUnwatched  = "unwatched"  // the registry was left alone for so long that nobody can tell whether it was set back
	BrakeHeartbeats = "heartbeats" // too many are silent: the fault is likelier ours than theirs
)

// Standing reports whether the brake is held until a person lifts it.
func (b Brake) Standing() bool {
	return b.Scope == "" && (b.Name == BrakeRollback || b.Name == BrakeUnwatched)
}

// Resumption is a person's word that one brake need not be held, at that scope, for what tripped it then. It lifts a
// standing brake of the same Since; one that trips later holds again. It lets as many be silent as were silent then,
// for a while: more trouble trips the brake again.
type Resumption struct {
	Brake
	At time.Time `json:"at"`
	By string    `json:"by,omitzero"`
	// Why the person lifts it. Reason is why it was held.
	Why string `json:"why,omitzero"`
}

// Lift notes that a person lifts the brakes given, which are all that are held of that name. What was said before of
// that name at the same scope is forgotten. What was said of it elsewhere stands, or two scopes that trip in turn would
// each undo the other's lifting.
func (r Registry) Lift(now time.Time, name string, held []Brake, by By) Registry {
	r.Resumed = slices.DeleteFunc(slices.Clone(r.Resumed), func(before Resumption) bool {
		return before.Name == name && slices.ContainsFunc(held, func(b Brake) bool { return b.Name == name && b.Scope == before.Scope })
	})
	for _, b := range held {
		if b.Name == name {
			r.Resumed = append(r.Resumed, Resumption{Brake: b, At: recorded(now), By: by.Actor, Why: by.Reason})
		}
	}
	return r
}

// Stands returns those of the brakes that no person has lifted. One that counts is lifted for as many as it counted then:
// with more, it is to be lifted again.
func (r Registry) Stands(held []Brake) []Brake {
	return slices.DeleteFunc(slices.Clone(held), func(b Brake) bool {
		return slices.ContainsFunc(r.Resumed, func(said Resumption) bool {
			return said.Name == b.Name && said.Scope == b.Scope && said.Since.Equal(b.Since) && said.Count >= b.Count
		})
	})
}

// Allows returns how many may be silent at the scope by a person's word that is not older than validFor.
func (r Registry) Allows(name, scope string, now time.Time, validFor time.Duration) int {
	allowed := 0
	for _, said := range r.Resumed {
		if age := now.Sub(said.At); said.Name == name && said.Scope == scope && age.Abs() < validFor {
			allowed = max(allowed, said.Count)
		}
	}
	return allowed
}

// Census counts the living instances of one location that bear a registry's tag, and those of leases that its listing lacks.
type Census struct {
	Managed   int `json:"managed"`   // bear ours by value
	Untracked int `json:"untracked"` // of those, the ones of which no record speaks
	Exempt    int `json:"exempt"`    // of the managed, those that their tag exempts
	Foreign   int `json:"foreign"`   // bear another registry's
	Unlisted  int `json:"unlisted"`  // leased and alive, but only found by id
	Unseen    int `json:"unseen"`    // leased, and neither listed nor known by id
}

// CatchUp lets what the registry holds count as the newest state of the lease, although its sidecar has seen later
// changes of it: a person has looked. As after a unmark there is no notice yet, and silence counts anew; a term that has
// passed meanwhile gives notice first.
func (l Lease) CatchUp(now time.Time, seen int64, by By) Lease {
	l.Changes = max(l.Changes, seen)
	l = l.changed(now, ActionCatchUp, by)
	if l.Live() {
		l.Mark, l.CuredAt = nil, recorded(now)
	}
	return l
}
