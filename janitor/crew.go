package janitor

import (
	"context"
	"slices"
	"time"

	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// workMax is how long a worker begins more of a plan. What is left then is due again, so what was decided since has its
// turn. It is no multiple of the interval: plans get old at the same pace whatever the schedule.
const workMax = time.Minute

// worker carries plans out in one location, one after the other, so that one that hangs delays no other location. A plan
// that waits is replaced by a newer one of the same kind, and keeps its location in the line: however fast reactions follow
// each other, what sweeps alone decide has its turn. A verdict by an older listing is checked again before it is carried out:
// each write compares, and the kill function describes afresh.
type worker struct {
	location lease.Location
	busy     bool
	line     []*job
}

// job is one plan for one location.
type job struct {
	actor    enforce.Actor
	registry lease.Registry // by which it was decided: if that has changed since, every write is refused
	swept    bool           // by a sweep, and not by a reaction
	verdicts []plan.Verdict
	acted    func(enforce.Report)
}

// crew is the workers of a leader, by their location.
type crew struct {
	*loop
	live    *liveness
	workers map[lease.Location]*worker
	leads   overseer
}

// overseer is who has plans carried out, and hears of each location's.
type overseer interface {
	// wanted reports whether the last decision still wants what an older one wanted.
	wanted(v plan.Verdict) bool
	// begins is told what is about to be done.
	begins(swept bool, verdicts []plan.Verdict)
	// done is told what came of it, for those who waited for it, too, and whether nobody waits for more.
	done(location lease.Location, verdicts []plan.Verdict, report enforce.Report, stopping bool)
}

// busy reports whether a plan is being carried out in a location, or waits.
func (c *crew) busy(location lease.Location) bool {
	return c.workers[location] != nil && c.workers[location].busy
}

func (c *crew) idle() bool {
	for _, worker := range c.workers {
		if worker.busy {
			return false
		}
	}
	return true
}

// act has a plan carried out, by the worker of each location, as the registry says by which it was decided. acted is called
// when all is done.
func (c *crew) act(ctx context.Context, actor enforce.Actor, registry lease.Registry, swept bool, verdicts []plan.Verdict, acted func(enforce.Report)) {
	byLocation := map[lease.Location][]plan.Verdict{}
	for _, v := range verdicts {
		if v.Action != plan.ActNone && v.Action != plan.ActReport {
			byLocation[v.Location] = append(byLocation[v.Location], v)
		}
	}
	var total enforce.Report
	left := len(byLocation)
	if left == 0 {
		acted(total)
	}
	for location, vs := range byLocation {
		if c.workers[location] == nil {
			c.workers[location] = &worker{location: location}
		}
		c.assign(ctx, c.workers[location], &job{actor: actor, registry: registry, swept: swept, verdicts: vs, acted: func(r enforce.Report) {
			total.Add(r)
			if left--; left == 0 {
				acted(total)
			}
		}})
	}
}

// assign puts a job into a worker's line.
func (c *crew) assign(ctx context.Context, w *worker, j *job) {
	at := slices.IndexFunc(w.line, func(o *job) bool { return o.swept == j.swept })
	if at < 0 {
		w.line = append(w.line, j)
	} else {
		older := w.line[at]
		w.line[at] = j
		older.acted(enforce.Report{})
	}
	if !w.busy {
		c.work(ctx, w)
	}
}

// work begins the first job in a worker's line. It drops terminations of an older decision that the last decision does not
// want: a brake may hold them back by now.
func (c *crew) work(ctx context.Context, w *worker) {
	j := w.line[0]
	w.line, w.busy = w.line[1:], true
	j.verdicts = slices.DeleteFunc(j.verdicts, func(v plan.Verdict) bool {
		return !c.leads.wanted(v)
	})
	c.leads.begins(j.swept, j.verdicts)
	done := c.live.works("the worker of "+w.location.String(), workMax+enforce.Deadline)
	c.do(func() func() {
		bounded, cancel := context.WithTimeout(ctx, workMax)
		defer cancel()
		report := j.actor.Enforce(bounded, j.registry, plan.Plan{Verdicts: j.verdicts})
		done()
		return func() { c.worked(ctx, w, j, report) }
	})
}

// worked takes in the result of a job. What it left undone, because its time was up, is decided again.
func (c *crew) worked(ctx context.Context, w *worker, j *job, report enforce.Report) {
	w.busy = false
	c.leads.done(w.location, j.verdicts, report, ctx.Err() != nil)
	j.acted(report)
	switch {
	case ctx.Err() != nil: // nobody waits for more
		for _, waiting := range w.line {
			waiting.acted(enforce.Report{})
		}
		w.line = nil
	case len(w.line) > 0:
		c.work(ctx, w)
	}
}
