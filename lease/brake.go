package lease

import (
	"slices"
	"time"
)

// Brake is a safety brake that is engaged: it holds terminations back. More trouble never means faster termination.
type Brake struct {
	Name   string    `json:"name"`            // heartbeats, rate, rollback, unwatched, clock, health
	Scope  string    `json:"scope,omitempty"` // zone or location; empty: everywhere
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	Count  int       `json:"count,omitzero"` // how many leases or instances engaged it, where it counts
	// Starting says that nothing is wrong: a leader has not written a checkpoint of its own yet, and the next sweep will.
	Starting bool `json:"starting,omitzero"`
}

// Brakes that a person can release. Rollback and unwatched stay engaged until somebody does; heartbeats also ends with its
// cause. The others end with their cause alone.
const (
	BrakeRollback   = "rollback"   // the registry was set back to an older state, which does not know of later extensions
	BrakeUnwatched  = "unwatched"  // no janitor watched the registry for so long that nobody can tell whether it was set back
	BrakeHeartbeats = "heartbeats" // too many heartbeats are lost: the fault is more likely ours than theirs
)

// Standing reports whether the brake stays engaged until a person releases it.
func (b Brake) Standing() bool {
	return b.Scope == "" && (b.Name == BrakeRollback || b.Name == BrakeUnwatched)
}

// Resumption records that a person released one brake, at one scope, for what engaged it then. It releases a standing brake
// of the same Since; one that engages later holds back again. For a while it allows as many lost heartbeats as there were
// then: more trouble engages the brake again.
type Resumption struct {
	Brake
	At time.Time `json:"at"`
	By string    `json:"by,omitzero"`
	// Why the person released it. Reason is why it was engaged.
	Why string `json:"why,omitzero"`
}

// Lift notes that a person releases the brakes given, which are all the engaged brakes of that name. It forgets earlier
// releases of that name at the same scope. Releases at other scopes stay, because otherwise two scopes that engage in turn
// would each undo the other's release.
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

// Stands returns those of the brakes that no person has released. A brake that counts is released for as many as it counted
// then: with more, it has to be released again.
func (r Registry) Stands(held []Brake) []Brake {
	return slices.DeleteFunc(slices.Clone(held), func(b Brake) bool {
		return slices.ContainsFunc(r.Resumed, func(said Resumption) bool {
			return said.Name == b.Name && said.Scope == b.Scope && said.Since.Equal(b.Since) && said.Count >= b.Count
		})
	})
}

// Allows returns how many heartbeats may be lost at the scope by a release that is not older than validFor.
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
	Unseen    int `json:"unseen"`    // leased, and neither listed nor found by id
}

// CatchUp makes the registry's state of the lease count as the newest, although its sidecar has seen later changes: a person
// has checked. As after an unmark, there is no mark and the heartbeat timeout starts again. If the lease has expired since,
// it is marked first.
func (l Lease) CatchUp(now time.Time, seen int64, by By) Lease {
	l.Changes = max(l.Changes, seen)
	l = l.changed(now, ActionCatchUp, by)
	if l.Live() {
		l.Mark, l.CuredAt = nil, recorded(now)
	}
	return l
}
