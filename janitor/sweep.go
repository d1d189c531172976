package janitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// pass is one sweep: look, decide, checkpoint, act. The term's goroutine does what is quick. What waits for EC2, or reads the
// whole registry, runs beside it, so that a location which gives no answer delays no reaction of the others: until this
// sweep decides, they go on over the last listing.
type pass struct {
	*term
	begun   time.Time
	cancel  context.CancelFunc // of its looks, which have one deadline
	ill     error              // why etcd is not well
	read    time.Time          // just before the registry was read
	unseen  bool               // a location could not be listed
	decided func(context.Context, error)
	plan    plan.Plan
	by      lease.Registry // by which it was decided
	report  Report
	err     error
}

// sweep is one full pass, to its end.
func (t *term) sweep(ctx context.Context) (plan.Plan, Report, error) {
	p := t.begin(ctx, func(context.Context, error) {})
	if !t.finish(passMax) {
		return p.plan, p.report, errors.New("the sweep has not come back within " + passMax.String())
	}
	t.unwatch()
	return p.plan, p.report, p.err
}

// begin looks at EC2 and the registry, beside the loop. What this replica remembers of the registry, and whether etcd is
// well, is read with it.
func (t *term) begin(ctx context.Context, decided func(context.Context, error)) *pass {
	t.sweepDue, t.sweeping = false, true
	t.table.swept()
	p := &pass{term: t, begun: time.Now(), decided: decided}
	looking, cancel := context.WithTimeout(ctx, lookMax)
	p.cancel = cancel
	least := t.heard
	inventory := observe.Inventory{
		Clouds: observed(t.Clouds), Registry: t.leadership, Now: t.Now, KnownEmpty: t.listings.KnownEmpty(t.joined, t.table.pause(), t.Now()),
		Read: func(_ context.Context, s lease.Snapshot, read time.Time) (wanted observe.Wanted, err error) {
			if err := t.watermark.Load(s.Registry.UUID); err != nil {
				return wanted, err
			}
			p.read, p.ill = read, t.Healthy(looking)
			return wanted, t.call(func() { wanted = p.excuse(ctx, s, least) })
		},
	}
	t.do(func() func() {
		seen, err := inventory.Observe(looking)
		return func() {
			if err != nil {
				p.conclude(ctx, err)
				return
			}
			p.judge(ctx, looking, seen)
		}
	})
	return p
}

// excuse takes in what the registry holds, and says what else is to be looked for. A watch keeps the records up to date from
// there on, and begins with what the one before it has told meanwhile: when the sweep decides, the records may be newer
// than what EC2 said, and never are older.
func (p *pass) excuse(ctx context.Context, s lease.Snapshot, least int64) observe.Wanted {
	p.see(s, least)
	p.unwatch()
	p.changes, p.unwatch = p.watch(ctx)
	now, grace := p.Now, p.Policy.TermGrace
	return observe.Wanted{
		Due:       func(l *lease.Lease) bool { return l.Over(now(), grace) },
		Leftovers: plan.DueLeftovers(p.joined, now(), p.Policy, p.lookedAgo),
	}
}

// lookedAgo is how long ago the leftovers of a launch were looked for.
func (t *term) lookedAgo(token string) time.Duration {
	if last, looked := t.looked[token]; looked {
		return time.Since(last)
	}
	return t.Policy.RetryMax
}

// list takes in what EC2 said.
func (p *pass) list(seen observe.Listings) {
	for n := range seen.Locations {
		location := &seen.Locations[n]
		p.unseen = p.unseen || !location.Listed()
		if location.LeftoverErr != "" {
			p.Log.Warn("leftovers not listed", "location", location.Location.String(), "launches", len(location.Sought), "error", location.LeftoverErr)
		}
		for _, token := range location.Sought {
			p.looked[token] = time.Now()
		}
	}
	p.tags.listed(seen.Mono)
	p.listings = seen
	p.joined.List(seen.Locations, seen.Index, p.tags.written())
}

// judge decides, and has it written that this sweep happened, before anything is ended by it: into the registry, and onto
// the disk that this replica remembers it by.
func (p *pass) judge(ctx, looking context.Context, seen observe.Listings) {
	p.list(seen)
	p.examine(p.ill)
	down := p.scribe.isDown()
	if down { // whether it is still so, only a try tells: there may be nothing else to write
		p.scribe.post(p.event(EventUnaudited, "events before this one are missing"))
	}
	if !p.checkpointed.IsZero() && (!p.kept || down) { // nothing was ended since the last checkpoint, whatever that says
		p.joined.Checkpoint.Acting = nil
	}
	p.plan, p.by = p.decide(p.read), p.joined.Registry
	p.wakeFor(p.plan) // what is heard from here on is decided about again
	checkpoint, err := p.checkpoint(p.plan)
	if err != nil {
		p.conclude(ctx, err)
		return
	}
	p.do(func() func() {
		written, err := p.leadership.PutCheckpoint(looking, p.by, checkpoint)
		if err != nil {
			return func() { p.conclude(ctx, fmt.Errorf("checkpoint the sweep: %w", err)) }
		}
		p.watermark.Wrote(written)
		kept := p.watermark.Flush(looking)
		return func() {
			p.wrote(written, kept == nil)
			if kept != nil {
				kept = fmt.Errorf("remember the sweep: %w", kept)
			}
			p.conclude(ctx, kept)
		}
	})
}

// conclude ends the sweep, and acts on what it decided.
func (p *pass) conclude(ctx context.Context, err error) {
	p.cancel()
	p.sweeping = false
	p.live.swept(p.sweepDue)
	if err != nil || p.unseen {
		p.dueAgain()
	}
	if ctx.Err() == nil {
		p.Observe.Swept(time.Since(p.begun), err)
	}
	if p.err = err; err == nil {
		p.act(ctx, p.by, true, p.plan.Verdicts, func(report Report) {
			p.report = report
			p.Log.Info("swept", "mode", string(p.by.Mode), "leases", len(p.joined.Rows),
				"marked", report.Marked, "asked", report.Asked, "ended", report.Ended, "spared", report.Spared, "held", report.Held,
				"removed", report.Removed, "failed", report.Failed, "took", time.Since(p.begun).Round(time.Millisecond))
		})
	}
	if err == nil {
		p.tag(ctx, p.plan.Tags)
		p.publish(ctx, p.by, p.plan, true)
	}
	p.decided(ctx, err)
}
