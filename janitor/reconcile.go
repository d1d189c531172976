package janitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	"lapse/lease"
)

// sweep is one pass over everything. Its goroutine waits for EC2 and etcd; what changes what the leader knows is done on the
// loop, which goes on reacting over the last listing until this sweep decides: a location that gives no answer delays none
// of the others.
type sweep struct {
	*leader
	begun      time.Time
	looking    context.Context                      //nolint:containedctx // of its reads and its checkpoint, which have one deadline
	knownEmpty map[lease.Location]plan.LocationView // locations that it does not list
	join       func(lease.Snapshot) *plan.Joined
	least      int64     // the revision of etcd that had been observed when it began
	ill        error     // why etcd is not well
	read       time.Time // just before the registry was read
	unseen     bool      // a location could not be listed

	plan       plan.Plan
	by         lease.Registry // by which it was decided
	checkpoint lease.Checkpoint
	report     enforce.Report
	err        error
}

// reconcile observes, plans and checkpoints, in this order. The checkpoint of the sweep is in the registry and on this
// the disk that this replica remembers it by, before anything is ended by it. Then [sweep.carryOut] has the plan carried out.
func (s *sweep) reconcile(ctx context.Context) error {
	seen, err := s.inventory(ctx).Observe(s.looking)
	if err != nil {
		return err
	}
	if err := s.onLoop(func() error { return s.decides(ctx, seen) }); err != nil {
		return err
	}
	written, err := s.leadership.PutCheckpoint(s.looking, s.by, s.checkpoint)
	if err != nil {
		return fmt.Errorf("checkpoint the sweep: %w", err)
	}
	s.watermark.Wrote(written)
	kept := s.watermark.Flush(s.looking)
	if err := s.onLoop(func() error { s.wrote(written, kept == nil); return nil }); err != nil || kept == nil {
		return err
	}
	return fmt.Errorf("remember the sweep: %w", kept)
}

// begin begins a sweep beside the loop. decided is told, on the loop, once it has decided or failed.
func (t *leader) begin(ctx context.Context, decided func(context.Context, error)) *sweep {
	t.sweepDue, t.sweeping = false, true
	t.table.swept()
	looking, cancel := context.WithTimeout(ctx, observeMax)
	s := &sweep{leader: t, begun: time.Now(), looking: looking, join: t.joining(), least: t.newest, knownEmpty: t.listings.KnownEmpty(t.joined, t.table.pause(), t.Now())}
	t.do(func() func() {
		err := s.reconcile(ctx)
		cancel()
		return func() {
			s.conclude(ctx, err)
			decided(ctx, err)
		}
	})
	return s
}

// passMax bounds one pass of [Janitor.Sweep], which has no loop that could show that it works.
const passMax = 15 * time.Minute

// pass runs one sweep and waits for it.
func (t *leader) pass(ctx context.Context) (plan.Plan, enforce.Report, error) {
	s := t.begin(ctx, func(context.Context, error) {})
	if !t.finish(passMax) {
		return s.plan, s.report, errors.New("the sweep did not finish within " + passMax.String())
	}
	t.unwatch()
	return s.plan, s.report, s.err
}

// inventory is what a sweep observes. It also reads what this replica remembers of the registry, and whether etcd is healthy.
func (s *sweep) inventory(ctx context.Context) observe.Inventory {
	return observe.Inventory{
		Clouds: observed(s.Clouds), Registry: s.leadership, Now: s.Now, KnownEmpty: s.knownEmpty,
		Read: func(looking context.Context, snapshot lease.Snapshot, read time.Time) (wanted observe.Wanted, err error) {
			if err := s.watermark.Load(snapshot.Registry.UUID); err != nil {
				return wanted, err
			}
			s.read, s.ill = read, s.Healthy(looking)
			joined := s.join(snapshot) // of many leases it takes longer than the loop should stand still
			return wanted, s.onLoop(func() error { wanted = s.excuse(ctx, snapshot, joined); return nil })
		},
	}
}

// excuse takes in what the registry holds, and returns what else to list. From then on a watch keeps the records up to date.
// So when the sweep decides, the records may be newer than EC2's listing, and are never older.
func (s *sweep) excuse(ctx context.Context, snapshot lease.Snapshot, joined *plan.Joined) observe.Wanted {
	s.takeIn(snapshot, joined, s.least)
	s.unwatch()
	s.changes, s.unwatch = s.watch(ctx)
	now, grace := s.Now, s.Policy.TermGrace
	return observe.Wanted{
		Due:       func(l *lease.Lease) bool { return l.Over(now(), grace) },
		Leftovers: plan.DueLeftovers(s.joined, now(), s.Policy, s.leftoversAge),
		Keyed:     plan.Keyed(s.joined),
	}
}

// decides takes in what EC2 said, and plans.
func (s *sweep) decides(ctx context.Context, seen observe.Listings) (err error) {
	s.catchUp(ctx)
	s.unseen = !s.list(seen)
	s.examine(s.ill)
	down := s.audit.Down()
	if down { // whether it is still so, only a try tells: there may be nothing else to write
		s.audit.Post(s.event(lease.ActionAuditFail, s.leadership.Name(), "events before this one are missing"))
	}
	if !s.checkpointed.IsZero() && (!s.kept || down) { // nothing was terminated since the last checkpoint, whatever that says
		s.joined.Checkpoint.Enforcing = nil
	}
	s.plan, s.by = s.decide(s.read), s.joined.Registry
	s.wakeFor(s.plan.Next) // what is heard from here on is decided about again
	s.checkpoint, err = s.nextCheckpoint(s.plan, s.table.pause())
	return err
}

// conclude finishes the sweep and carries out what it decided.
func (s *sweep) conclude(ctx context.Context, err error) {
	s.sweeping = false
	s.live.swept(s.sweepDue)
	if err != nil || s.unseen {
		s.dueAgain()
	}
	if ctx.Err() == nil {
		s.Observe.Swept(time.Since(s.begun), err)
	}
	if s.err = err; err == nil {
		s.carryOut(ctx)
	}
}

// carryOut has the plan enforced, and tells what came of it.
func (s *sweep) carryOut(ctx context.Context) {
	s.enforce(ctx, s.by, true, s.plan, s.plan.Verdicts, func(report enforce.Report) {
		s.report = report
		s.Log.Info("swept", "mode", string(s.by.Mode), "leases", len(s.joined.Rows),
			"marked", report.Marked, "asked", report.Asked, "ended", report.Ended, "spared", report.Spared, "held", report.Held,
			"removed", report.Removed, "failed", report.Failed, "took", time.Since(s.begun).Round(time.Millisecond))
	})
}
