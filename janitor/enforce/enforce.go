// Package enforce carries out plans. It terminates, removes, tags and records what package plan has decided, and nothing
// else. It decides nothing itself, except to spare what a fresh description excuses.
//
//   - enforce.go: the three actors: [Armed] carries a plan out; [Paused] and [Observing] do little more than report it.
//   - cloud.go: what they need from EC2 and from the registry. report.go: [Report], the outcome of a plan.
//   - terminate.go: the one function that terminates instances.
//   - cleanup.go: the one function that removes what outlived an instance.
//   - record.go: every other write: marks, and what was observed of a lease or a launch. event.go: the events of all this.
//   - tags.go: [Tags] and [WriteTags], the second key of a date, on the instances themselves.
package enforce

import (
	"cmp"
	"context"
	"log/slog"
	"math/bits"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
)

// Actor carries out a plan that was decided by a registry, or only reports it. It returns when all is done.
type Actor interface {
	Enforce(ctx context.Context, reg lease.Registry, planned plan.Plan) Report
}

// Observing is the actor of a registry that observes: it writes nothing and terminates nothing.
type Observing struct{ Log *slog.Logger }

// Enforce logs what an armed registry would do.
func (o Observing) Enforce(_ context.Context, reg lease.Registry, planned plan.Plan) Report {
	for _, v := range planned.Without(plan.ActNone, plan.ActReport) {
		o.Log.Info("would act", "mode", string(reg.Mode), "action", string(v.Action), "instance_id", v.InstanceID,
			"launch", v.Token, "leftover", v.LeftoverID(), "reason", v.Reason)
	}
	return Report{Held: len(planned.With(plan.ActHold))}
}

// Paused is the actor of a paused registry: it raises records that are behind their tags, so that a date that is agreed
// later is the newer word and gets onto the tag too. Of everything else it only reports.
type Paused struct{ Armed }

// Enforce raises records, and logs what an armed registry would do.
func (p Paused) Enforce(ctx context.Context, reg lease.Registry, planned plan.Plan) Report {
	report := p.recordAll(ctx, reg, planned.With(plan.ActRaise))
	report.Add(Observing{Log: p.Log}.Enforce(ctx, reg, plan.Plan{Verdicts: planned.Without(plan.ActRaise)}))
	return report
}

// Armed is the actor that carries the plan out. All its fields are needed.
type Armed struct {
	Name     string // by which histories name it
	Registry Registry
	Clouds   map[lease.Location]Cloud
	Policy   plan.Policy
	Wall     func() time.Time        // our clock, as it is: for what is checked against EC2's just now
	Date     func() time.Time        // what is written down is dated by; it may follow EC2's clock
	Standing func() []lease.Brake    // the brakes that hold everything until a person releases them, as known just now
	Decided  time.Time               // when the plan was decided, monotonic
	Emit     func(audit.Event)       // tells what was done
	Record   func(audit.Event) error // tells what is about to be done, and fails unless the audit log has it
	// Newest is the newest revision of the registry that was observed before the decision. A write that gets an older one
	// shows that the registry was set back, though nobody has read so yet.
	Newest int64
	Log    *slog.Logger
}

// What is done side by side.
const (
	batchSize       = 50 // instances in one TerminateInstances call
	callsPerGroup   = 16 // calls for those of a zone that were tried equally often
	writesAtOnce    = 16
	terminationsMax = 8 // batches at once
)

// Enforce records and terminates side by side, so that many marks delay no termination, and then removes leftovers.
func (a Armed) Enforce(ctx context.Context, reg lease.Registry, planned plan.Plan) Report {
	total := Report{Held: len(planned.With(plan.ActHold))}
	var mu sync.Mutex
	add := func(r Report) {
		mu.Lock()
		defer mu.Unlock()
		total.Add(r)
	}
	var both sync.WaitGroup
	both.Go(func() {
		add(a.recordAll(ctx, reg, append(planned.With(records()...), firstSightings(planned)...)))
	})
	both.Go(func() {
		abreast(terminationsMax, batches(planned.Ends()), func(batch []plan.Verdict) { add(a.terminate(ctx, reg, batch)) })
	})
	both.Wait()
	add(a.cleanUp(ctx, reg, planned.With(plan.ActRemove)))
	return total
}

// abreast calls do for each item, at most n at once.
func abreast[T any](n int, items []T, do func(T)) {
	var group errgroup.Group
	group.SetLimit(n)
	for _, item := range items {
		group.Go(func() error {
			do(item)
			return nil
		})
	}
	_ = group.Wait() // none fails
}

// batches groups verdicts by location and zone, so that trouble in one zone delays no other, and by how often each was
// tried. EC2 may fail a call because of one instance without naming it: what was tried in vain is tried again in a batch of
// half the size, until it stands alone. But a zone in which many were tried in vain is in trouble itself: however many they
// are, they make at most 16 calls, or full batches.
func batches(vs []plan.Verdict) [][]plan.Verdict {
	type group struct {
		location lease.Location
		zone     string
		halved   int
	}
	var order []group
	members := map[group][]plan.Verdict{}
	for _, v := range vs {
		g := group{location: v.Location, zone: v.Zone}
		if v.Lease != nil {
			g.halved = min(v.Lease.Tries, bits.Len(batchSize))
		}
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], v)
	}
	slices.SortStableFunc(order, func(a, b group) int { return cmp.Compare(a.halved, b.halved) }) // what is new waits for no retry
	var all [][]plan.Verdict
	for _, g := range order {
		fewest := (len(members[g]) + callsPerGroup - 1) / callsPerGroup
		size := min(batchSize, max(1, batchSize>>g.halved, fewest))
		all = slices.AppendSeq(all, slices.Chunk(members[g], size))
	}
	return all
}

// firstSightings makes one verdict of all first sightings of what a launch left, because they are one write.
func firstSightings(planned plan.Plan) []plan.Verdict {
	var joined []plan.Verdict
	at := map[string]int{}
	for _, v := range planned.With(plan.ActFirstSeen) {
		n, seen := at[v.Token]
		if !seen {
			n = len(joined)
			at[v.Token] = n
			joined = append(joined, v)
		}
		joined[n].FirstSeen = append(joined[n].FirstSeen, cmp.Or(v.InstanceID, v.LeftoverID()))
	}
	return joined
}
