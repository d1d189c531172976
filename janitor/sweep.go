package janitor

import (
	"context"
	"fmt"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// pass is one sweep: look, read, look up, decide, stamp, act. The term's goroutine does what is quick. What waits for
// EC2, or reads the whole registry, runs beside it, so that a place which gives no answer delays no reaction of the others: until this sweep decides,
// they go on over the last listing.
type pass struct {
	*term
	begun   time.Time
	least   int64 // the revision of etcd that had been observed by then
	sight   sight
	read    time.Time // just before the registry was read
	decided func(context.Context, plan.Plan, error)
	plan    plan.Plan
	report  Report
	err     error
}

// sweep is one full pass, to its end.
func (t *term) sweep(ctx context.Context) (plan.Plan, Report, error) {
	p := t.begin(ctx, func(context.Context, plan.Plan, error) {})
	t.finish()
	t.unwatch()
	return p.plan, p.report, p.err
}

// begin lists EC2 first, which is what may be destroyed, and reads the registry second, which is what excuses it.
func (t *term) begin(ctx context.Context, decided func(context.Context, plan.Plan, error)) *pass {
	t.sweepDue, t.sweeping = false, true
	p := &pass{term: t, begun: time.Now(), least: t.heard, decided: decided}
	vacant := t.vacant()
	t.beside(func() func() {
		looking, cancel := p.bounded(ctx)
		defer cancel()
		p.sight = look(looking, t.Clouds, t.Now, vacant)
		p.read = time.Now()
		snapshot, err := p.office.Snapshot(ctx)
		return func() { p.excuse(ctx, snapshot, err) }
	})
	return p
}

// bounded is for one look at EC2.
func (p *pass) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(p.Policy.Interval, lookMax))
}

// excuse takes in what the registry holds, and then asks EC2 by id for what the listing lacks. A watch keeps the records
// up to date from there on, and begins with what the one before it has told meanwhile: when the sweep decides, the records
// may be newer than what EC2 said, and never are older.
func (p *pass) excuse(ctx context.Context, snapshot lease.Snapshot, err error) {
	if err != nil {
		p.conclude(ctx, fmt.Errorf("read the registry: %w", err))
		return
	}
	p.see(observation{sight: p.seen.sight, snapshot: snapshot, least: p.least})
	p.unwatch()
	p.changes, p.unwatch = p.watch(ctx)
	lacking, due := p.sight.lacking(snapshot, p.over), p.seek(snapshot)
	p.beside(func() func() {
		looking, cancel := p.bounded(ctx)
		defer cancel()
		p.sight.lookUp(looking, p.Clouds, lacking)
		p.sight.lookForLeftovers(looking, p.Clouds, due)
		p.sight.index = plan.Indexed(p.sight.places) // for all decisions until the next look
		return func() {
			p.sought(p.sight.places)
			p.seen.sight = p.sight
			p.conclude(ctx, nil)
		}
	})
}

// over reports whether a lease's term has passed.
func (t *term) over(l lease.Lease) bool { return l.Over(t.Now(), t.Policy.TermGrace) }

// conclude decides, stamps and acts.
func (p *pass) conclude(ctx context.Context, err error) {
	p.sweeping = false
	if err == nil {
		p.examine(ctx)
		p.plan = p.decide(p.read)
		err = p.stamp(ctx, p.plan)
	}
	if ctx.Err() == nil {
		p.Observe.Swept(time.Since(p.begun), err)
	}
	if p.err = err; err == nil {
		p.act(ctx, p.plan, func(report Report) {
			p.report = report
			p.Log.Info("swept", "mode", string(p.seen.snapshot.Registry.Mode), "leases", len(p.seen.snapshot.Leases),
				"marked", report.Marked, "asked", report.Asked, "ended", report.Ended, "spared", report.Spared, "held", report.Held,
				"removed", report.Removed, "failed", report.Failed, "took", time.Since(p.begun).Round(time.Millisecond))
		})
	}
	p.decided(ctx, p.plan, err)
}
