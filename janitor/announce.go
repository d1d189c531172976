package janitor

import (
	"slices"

	"lapse/lease"
)

// announcer tells which brakes a leader engages.
type announcer struct {
	*records
	name    string // of the leadership
	brakes  []lease.Brake
	started bool // it was said that this leader starts up
}

// announce logs a brake once when it engages and once when it is released, even if that happens between two leaders. Each
// leader logs the brakes that are engaged. A leader that has just started is not a fault, so it is logged as a start.
func (a *announcer) announce(held []lease.Brake) {
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
}

func (a *announcer) braked(kind lease.Action, b lease.Brake) {
	e := a.event(kind, a.name, b.Reason)
	e.Brake, e.Scope = b.Name, b.Scope
	a.emit(e)
}
