package janitor

import (
	"maps"
	"slices"

	"lapse/lease"
)

// announcer tells which brakes a leader engages.
type announcer struct {
	*records
	name    string // of the leadership
	brakes  []lease.Brake
	behind  map[string]int64
	started bool // it was said that this leader starts up
}

// announce logs a brake once when it engages and once when it is released, even if that happens between two leaders. Each
// leader logs the brakes that are engaged. A leader that has just started is not a fault, so it is logged as a start. behind are
// the leases that are held back one by one.
func (a *announcer) announce(held []lease.Brake, behind map[string]int64) {
	starting := func(b lease.Brake) bool { return b.Starting }
	if !a.started && slices.ContainsFunc(held, starting) {
		a.Log.Info("starting up: heartbeats are judged after the next sweep")
		a.started = true
	}
	held = slices.DeleteFunc(slices.Clone(held), starting)
	has := func(in []lease.Brake, b lease.Brake) bool {
		return slices.ContainsFunc(in, func(o lease.Brake) bool { return o.Name == b.Name && o.Scope == b.Scope })
	}
	if a.brakes == nil && !a.Policy.SkipHeartbeats { // a single pass sees no more than half of them
		a.brakes = slices.DeleteFunc(slices.Clone(a.joined.Checkpoint.Brakes), func(b lease.Brake) bool { return starting(b) || has(held, b) })
	}
	for _, b := range held {
		if !has(a.brakes, b) {
			a.Log.Warn("brake engaged", "brake", b.Name, "scope", b.Scope, "reason", b.Reason)
			a.braked(lease.ActionBrakeEngage, b)
		}
	}
	for _, b := range a.brakes {
		if !has(held, b) {
			a.Log.Info("brake released", "brake", b.Name, "scope", b.Scope)
			a.braked(lease.ActionBrakeDisengage, b)
		}
	}
	a.brakes = held
	a.announceBehind(behind)
}

// announceBehind tells of each lease that is held back by itself once when that begins, and once when it ends.
func (a *announcer) announceBehind(behind map[string]int64) {
	if a.behind == nil && !a.Policy.SkipHeartbeats {
		a.behind = maps.Clone(a.joined.Checkpoint.Behind)
		maps.DeleteFunc(a.behind, func(id string, _ int64) bool { return behind[id] > 0 })
	}
	for _, id := range slices.Sorted(maps.Keys(behind)) {
		if _, before := a.behind[id]; !before {
			a.Log.Warn("lease held back: its sidecar has seen a later change than the registry has", "instance_id", id)
			a.heldBack(lease.ActionBrakeEngage, id, "its sidecar has seen a later change of the lease than the registry has")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.behind)) {
		if _, still := behind[id]; !still {
			a.Log.Info("lease no longer held back", "instance_id", id)
			a.heldBack(lease.ActionBrakeDisengage, id, "")
		}
	}
	a.behind = behind
}

func (a *announcer) heldBack(kind lease.Action, id, reason string) {
	e := a.event(kind, a.name, reason)
	e.Brake, e.InstanceID = lease.BrakeRollback, id
	a.emit(e)
}

func (a *announcer) braked(kind lease.Action, b lease.Brake) {
	e := a.event(kind, a.name, b.Reason)
	e.Brake, e.Scope = b.Name, b.Scope
	a.emit(e)
}
