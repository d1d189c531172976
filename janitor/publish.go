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
	last    lease.Plan // as published by this leader; zero: nothing, as far as is known
	at      time.Time  // when that was; monotonic
	busy    bool
	waiting func()    // publishes the next one, once that has come back
	due     time.Time // when a reaction is to publish what changed
}

// publish has the plan written if the registry observes or is paused: by each sweep, and between sweeps if it says something
// else. Once the registry is armed, what was published is deleted, and nothing is written any more. A plan that cannot be
// written ends no sweep: then people cannot arm.
func (t *leader) publish(ctx context.Context, registry lease.Registry, planned plan.Plan, swept bool) {
	if registry.Mode == lease.ModeArmed {
		t.unpublish(ctx, registry)
		return
	}
	made, checkpoint := planned.Published(registry, t.Policy, t.listings.Locations), t.joined.Checkpoint
	made.Sequence, made.Nonce, made.Leader, made.Time = checkpoint.Sequence, checkpoint.Nonce, t.leadership.Name(), t.date().UTC().Truncate(time.Millisecond)
	if !swept && made.SameAs(t.published.last) {
		return
	}
	if rested := t.published.at.Add(publishRest); !swept && time.Now().Before(rested) {
		t.published.due = rested
		return
	}
	write := func() { t.writePlan(ctx, registry, made) }
	if t.published.waiting = nil; t.published.busy {
		t.published.waiting = write
		return
	}
	write()
}

func (t *leader) writePlan(ctx context.Context, registry lease.Registry, made lease.Plan) {
	t.published = publisher{busy: true, last: made, at: time.Now()}
	t.do(func() func() {
		err := t.leadership.PutPlan(ctx, registry, made)
		return func() {
			t.published.busy = false
			if err != nil {
				t.published.last = lease.Plan{}
				t.notWritten(ctx, "published", err)
			} else {
				t.joined.Planned = true
			}
			if next := t.published.waiting; next != nil && ctx.Err() == nil {
				next()
			}
		}
	})
}

// unpublish deletes what this leader or one before it has published.
func (t *leader) unpublish(ctx context.Context, registry lease.Registry) {
	if !t.joined.Planned || t.published.busy {
		return
	}
	t.published = publisher{busy: true}
	t.do(func() func() {
		err := t.leadership.DeletePlan(ctx, registry)
		return func() {
			t.published.busy = false
			if err != nil {
				t.notWritten(ctx, "deleted", err)
				return
			}
			t.joined.Planned = false
		}
	})
}

// notWritten says that a plan could not be written, and has that tried again. That the registry has changed is no fault: a
// plan follows by what it says now.
func (t *leader) notWritten(ctx context.Context, was string, err error) {
	if _, deposed := errors.AsType[*lease.DeposedError](err); deposed || ctx.Err() != nil {
		return
	}
	t.Log.Warn("plan not written", "was_to_be", was, "error", err)
	t.reactAgain()
}
