package janitor

import (
	"context"
	"errors"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// publishRest is the least time between a published plan and one that follows because something changed between sweeps.
const publishRest = time.Second

// publisher keeps the plan beside the checkpoint up to date while the registry is not armed. One write is under way at most, so
// that no older plan replaces a newer one.
type publisher struct {
	*records
	*loop
	*timers
	leadership Leadership

	last    lease.Plan // as published by this leader; zero: nothing, as far as is known
	at      time.Time  // when that was; monotonic
	busy    bool
	waiting func() // publishes the next one, once that has come back
}

// publish has the plan written if the registry observes or is paused: by each sweep, and between sweeps if it says something
// else. Once the registry is armed, what was published is deleted, and nothing more is written. A plan that cannot be
// written fails no sweep: then people cannot arm.
func (p *publisher) publish(ctx context.Context, registry lease.Registry, planned plan.Plan, swept bool) {
	if registry.Mode == lease.ModeArmed {
		p.unpublish(ctx, registry)
		return
	}
	made, checkpoint := planned.Published(registry, p.Policy, p.listings.Locations), p.joined.Checkpoint
	made.Sequence, made.Nonce, made.Leader, made.Time = checkpoint.Sequence, checkpoint.Nonce, p.leadership.Name(), p.date().UTC().Truncate(time.Millisecond)
	if !swept && made.SameAs(p.last) {
		return
	}
	if rested := p.at.Add(publishRest); !swept && time.Now().Before(rested) {
		p.publishDue = rested
		return
	}
	write := func() { p.writePlan(ctx, registry, made) }
	if p.waiting = nil; p.busy {
		p.waiting = write
		return
	}
	write()
}

func (p *publisher) writePlan(ctx context.Context, registry lease.Registry, made lease.Plan) {
	p.busy, p.last, p.at, p.waiting, p.publishDue = true, made, time.Now(), nil, time.Time{}
	p.do(func() func() {
		err := p.leadership.PutPlan(ctx, registry, made)
		return func() {
			p.busy = false
			if err != nil {
				p.last = lease.Plan{}
				p.notWritten(ctx, "published", err)
			} else {
				p.joined.Planned = true
			}
			if next := p.waiting; next != nil && ctx.Err() == nil {
				next()
			}
		}
	})
}

// unpublish deletes what this leader or one before it has published.
func (p *publisher) unpublish(ctx context.Context, registry lease.Registry) {
	if !p.joined.Planned || p.busy {
		return
	}
	p.busy, p.last, p.at, p.waiting, p.publishDue = true, lease.Plan{}, time.Time{}, nil, time.Time{}
	p.do(func() func() {
		err := p.leadership.DeletePlan(ctx, registry)
		return func() {
			p.busy = false
			if err != nil {
				p.notWritten(ctx, "deleted", err)
				return
			}
			p.joined.Planned = false
		}
	})
}

// notWritten says that a plan could not be written, and has that tried again. That the registry has changed is no fault: a
// plan follows by what it says now.
func (p *publisher) notWritten(ctx context.Context, was string, err error) {
	if _, deposed := errors.AsType[*lease.DeposedError](err); deposed || ctx.Err() != nil {
		return
	}
	p.Log.Warn("plan not written", "was_to_be", was, "error", err)
	p.reactAgain()
}
