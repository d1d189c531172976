package janitor

import (
	"context"
	"errors"
	"slices"
	"time"

	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
)

// workMax is how long a worker begins more of a plan. What is left then is due again, so what was decided since has its
// turn. It is no multiple of the interval: plans get old at the same pace whatever the schedule.
const workMax = time.Minute

// beside is what runs beside a term's goroutine: looks at EC2, reads, writes, and plans being carried out. It shares
// nothing with it, and each hands back a function that the term's goroutine calls.
type beside struct {
	back chan func()
	out  int           // what has not come back
	gone chan struct{} // closes when nobody waits for it any more
}

func newBeside() beside { return beside{back: make(chan func()), gone: make(chan struct{})} }

// do runs work in a goroutine of its own. What it returns is called when it has come back.
func (b *beside) do(work func() (then func())) {
	b.out++
	go func() {
		then := work()
		select {
		case b.back <- func() {
			b.out--
			then()
		}:
		case <-b.gone:
		}
	}()
}

// onLoop runs f on the loop, and returns what it did. It fails if nobody waits any more.
func (b *beside) onLoop(f func() error) (err error) {
	done := make(chan struct{})
	select {
	case b.back <- func() {
		defer close(done)
		err = f()
	}:
		<-done
		return err
	case <-b.gone:
		return errors.New("nobody waits for this any more")
	}
}

// finish waits until all have come back, those included that they started, and reports whether they did in time.
func (b *beside) finish(within time.Duration) bool {
	patience := time.NewTimer(within)
	defer patience.Stop()
	for b.out > 0 {
		select {
		case then := <-b.back:
			then()
		case <-patience.C:
			close(b.gone)
			return false
		}
	}
	return true
}

// worker carries plans out in one location, one after the other, so that one that hangs delays no other location. A plan
// that waits is replaced by a newer one of the same kind, and keeps its location in the line: however fast reactions follow
// each other, what sweeps alone decide has its turn. What was judged by an older look is judged again before it is done:
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

// workers are those of a term, by their location.
type workers map[lease.Location]*worker

// busy reports whether a plan is being carried out in a location, or waits.
func (w workers) busy(location lease.Location) bool { return w[location] != nil && w[location].busy }

func (w workers) idle() bool {
	for _, worker := range w {
		if worker.busy {
			return false
		}
	}
	return true
}

// act has a plan carried out, by the worker of each location, as the registry says by which it was decided. acted is called
// when all is done.
func (t *leader) act(ctx context.Context, registry lease.Registry, swept bool, verdicts []plan.Verdict, acted func(enforce.Report)) {
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
	actor := t.actor(registry)
	for location, vs := range byLocation {
		if t.workers[location] == nil {
			t.workers[location] = &worker{location: location}
		}
		t.assign(ctx, t.workers[location], &job{actor: actor, registry: registry, swept: swept, verdicts: vs, acted: func(r enforce.Report) {
			total.Add(r)
			if left--; left == 0 {
				acted(total)
			}
		}})
	}
}

// assign puts a job into a worker's line.
func (t *leader) assign(ctx context.Context, w *worker, j *job) {
	at := slices.IndexFunc(w.line, func(o *job) bool { return o.swept == j.swept })
	if at < 0 {
		w.line = append(w.line, j)
	} else {
		older := w.line[at]
		w.line[at] = j
		older.acted(enforce.Report{})
	}
	if !w.busy {
		t.work(ctx, w)
	}
}

// work begins the first job in a worker's line. What it was to end by an older decision, and would not by the last, is left
// as it is: a brake may hold it by now.
func (t *leader) work(ctx context.Context, w *worker) {
	j := w.line[0]
	w.line, w.busy = w.line[1:], true
	j.verdicts = slices.DeleteFunc(j.verdicts, func(v plan.Verdict) bool {
		return (v.Action == plan.ActTerminate || v.Action == plan.ActOrphan) && !t.ends[v.InstanceID]
	})
	if !j.swept {
		t.ask(j.verdicts)
	}
	done := t.live.works("the worker of "+w.location.String(), workMax+enforce.Deadline)
	t.do(func() func() {
		bounded, cancel := context.WithTimeout(ctx, workMax)
		defer cancel()
		report := j.actor.Enforce(bounded, j.registry, plan.Plan{Verdicts: j.verdicts})
		done()
		return func() { t.worked(ctx, w, j, report) }
	})
}

// worked takes in what came of a job. What it has left, for want of time, is decided again.
func (t *leader) worked(ctx context.Context, w *worker, j *job, report enforce.Report) {
	w.busy = false
	if report.Left > 0 {
		for _, v := range j.verdicts {
			delete(t.asked, v.InstanceID)
		}
	}
	if report.Failed > 0 {
		t.askAgain(j.verdicts)
	}
	t.historian.Settle(w.location) // what is ours of it is told by now
	j.acted(report)
	if report.Left > 0 && ctx.Err() == nil {
		t.soon()
	}
	switch {
	case ctx.Err() != nil: // nobody waits for more
		for _, waiting := range w.line {
			waiting.acted(enforce.Report{})
		}
		w.line = nil
	case len(w.line) > 0:
		t.work(ctx, w)
	}
}
