package janitor

import (
	"context"
	"time"

	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// Previewed is what was observed without a leadership, and decided.
type Previewed struct {
	Snapshot  lease.Snapshot
	Locations []plan.LocationView
	Plan      plan.Plan
}

// Preview observes and decides without a leadership. It writes nothing and judges no heartbeats.
func Preview(ctx context.Context, clouds []Cloud, registry observe.Registry, p plan.Policy, now func() time.Time) (Previewed, error) {
	p.SkipHeartbeats = true
	var read lease.Snapshot
	seen, err := observe.Inventory{Clouds: observed(clouds), Registry: registry, Now: now, Read: func(_ context.Context, s lease.Snapshot, _ time.Time) (observe.Wanted, error) {
		read = s
		return observe.Wanted{
			Due:       func(l *lease.Lease) bool { return l.Over(now(), p.TermGrace) },
			Leftovers: those(s.Launches, lease.Launch.MayLeave), Keyed: those(s.Launches, func(l lease.Launch) bool { return len(l.Sought()) > 0 }),
		}, nil
	}}.Observe(ctx)
	if err != nil {
		return Previewed{}, err
	}
	j := plan.Join(read, seen.Locations, seen.Index, nil)
	for n := range j.Rows {
		j.Rows[n].Renewal.Present = j.Rows[n].Heartbeat.Held
	}
	v := plan.View{Now: now().Round(0), Policy: p, Joined: j, Locations: seen.Locations, Standing: j.Registry.Stands(j.Checkpoint.Standing)}
	return Previewed{read, seen.Locations, plan.Decide(v)}, nil
}

// those are the launches of which something is true.
func those(launches []lease.Launch, is func(lease.Launch) bool) (all []*lease.Launch) {
	for n := range launches {
		if is(launches[n]) {
			all = append(all, &launches[n])
		}
	}
	return all
}
