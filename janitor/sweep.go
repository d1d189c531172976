package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// pass is one sweep: look, read, look up, decide, checkpoint, act. The term's goroutine does what is quick. What waits for
// EC2, or reads the whole registry, runs beside it, so that a location which gives no answer delays no reaction of the others: until this sweep decides,
// they go on over the last listing.
type pass struct {
	*term
	begun   time.Time
	cancel  context.CancelFunc // of its looks, which have one deadline
	ill     error              // why etcd is not well
	least   int64              // the revision of etcd that had been observed by then
	sight   sight
	read    time.Time // just before the registry was read
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

// begin lists EC2 first, which is what may be destroyed, and reads the registry second, which is what excuses it. What
// this replica remembers of the registry, and whether etcd is well, is read with it.
func (t *term) begin(ctx context.Context, decided func(context.Context, error)) *pass {
	t.sweepDue, t.sweeping = false, true
	t.table.swept()
	p := &pass{term: t, begun: time.Now(), least: t.heard, decided: decided}
	looking, cancel := context.WithTimeout(ctx, lookMax)
	p.cancel = cancel
	knownEmpty := t.knownEmpty()
	t.do(func() func() {
		p.sight = look(looking, t.Clouds, t.Now, knownEmpty)
		p.read = time.Now()
		snapshot, err := p.leadership.Snapshot(looking)
		if err != nil {
			return func() { p.conclude(ctx, fmt.Errorf("read the registry: %w", err)) }
		}
		if err := t.past.load(snapshot.Registry.UUID); err != nil {
			return func() { p.conclude(ctx, err) }
		}
		ill := t.Healthy(looking)
		return func() { p.excuse(ctx, looking, snapshot, ill) }
	})
	return p
}

// excuse takes in what the registry holds, and then asks EC2 by id for what the listing lacks. A watch keeps the records
// up to date from there on, and begins with what the one before it has told meanwhile: when the sweep decides, the records
// may be newer than what EC2 said, and never are older.
func (p *pass) excuse(ctx, looking context.Context, snapshot lease.Snapshot, ill error) {
	p.ill = ill
	p.see(observation{sight: p.seen.sight, snapshot: snapshot, least: p.least})
	p.unwatch()
	p.changes, p.unwatch = p.watch(ctx)
	lacking, due := p.sight.lacking(snapshot, p.over), p.seek(snapshot)
	p.do(func() func() {
		p.sight.lookUp(looking, p.Clouds, lacking)
		p.sight.lookForLeftovers(looking, p.Clouds, due)
		p.sight.index = plan.Indexed(p.sight.locations) // for all decisions until the next look
		return func() {
			p.sought(p.sight.locations)
			p.tags.listed(p.sight.mono)
			p.seen.sight = p.sight
			p.judge(ctx, looking)
		}
	})
}

// over reports whether a lease's term has passed.
func (t *term) over(l lease.Lease) bool { return l.Over(t.Now(), t.Policy.TermGrace) }

// judge decides, and has it written that this sweep happened, before anything is ended by it: into the registry, and onto
// the disk that this replica remembers it by.
func (p *pass) judge(ctx, looking context.Context) {
	p.examine(p.ill)
	down := p.scribe.isDown()
	if down { // whether it is still so, only a try tells: there may be nothing else to write
		p.scribe.post(p.event(EventUnaudited, "events before this one are missing"))
	}
	if !p.checkpointed.IsZero() && (!p.kept || down) { // nothing was ended since the last checkpoint, whatever that says
		p.seen.snapshot.Checkpoint.Acting = nil
	}
	p.plan, p.by = p.decide(p.read), p.seen.snapshot.Registry
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
		p.past.wrote(written)
		kept := p.past.flush(looking)
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
	if err != nil || slices.ContainsFunc(p.sight.locations, func(seen plan.LocationView) bool { return !seen.Listed() }) {
		p.dueAgain()
	}
	if ctx.Err() == nil {
		p.Observe.Swept(time.Since(p.begun), err)
	}
	if p.err = err; err == nil {
		p.act(ctx, p.by, true, p.plan.Verdicts, func(report Report) {
			p.report = report
			p.Log.Info("swept", "mode", string(p.by.Mode), "leases", len(p.seen.snapshot.Leases),
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
