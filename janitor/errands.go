package janitor

import (
	"context"
	"slices"

	"lapse/lease"

	"lapse/janitor/plan"
)

// errands are what runs beside a term's goroutine: looks at EC2, and plans being carried out. They share nothing with
// it, and each hands back a function that the term's goroutine calls.
type errands struct {
	back   chan func()
	out    int           // errands that have not come back
	acting map[lane]bool // where a plan is being carried out
	missed map[lane]bool // where more was to be done meanwhile
}

// lane is a place, and one of the two kinds of what is done there: what reactions may do as well, and what rests on a
// sweep. So however long reactions take there, one after the other, what sweeps alone decide has its turn. What both
// kinds write of one record is compared as always, and one of them gives way.
type lane struct {
	place lease.Place
	swept bool
}

// reactions are what is done between sweeps, too. The rest waits for the next look at EC2: an old listing is no second
// look, and confirms nothing.
func reactions() []plan.Action {
	return []plan.Action{plan.ActMark, plan.ActUnmark, plan.ActEnd, plan.ActStuck}
}

func laneOf(v plan.Verdict) lane { return lane{v.Place, !slices.Contains(reactions(), v.Action)} }

func newErrands() errands {
	return errands{back: make(chan func()), acting: map[lane]bool{}, missed: map[lane]bool{}}
}

// beside runs work in a goroutine of its own. What it returns is called when it has come back.
func (e *errands) beside(work func() (then func())) {
	e.out++
	go func() {
		then := work()
		e.back <- func() {
			e.out--
			then()
		}
	}()
}

// finish waits until all have come back, those included that they started.
func (e *errands) finish() {
	for e.out > 0 {
		(<-e.back)()
	}
}

// busy reports whether a plan is being carried out in a place.
func (e *errands) busy(place lease.Place) bool {
	return e.acting[lane{place, false}] || e.acting[lane{place, true}]
}

// free leaves out what stands in line behind an earlier plan that is still being carried out. What is due there is
// decided anew after that.
func (e *errands) free(vs []plan.Verdict) []plan.Verdict {
	return slices.DeleteFunc(vs, func(v plan.Verdict) bool {
		if e.acting[laneOf(v)] {
			e.missed[laneOf(v)] = true
		}
		return e.acting[laneOf(v)]
	})
}

// act carries a plan out, each lane by itself, for an interval at most, so that sweeps and their stamps go on. What is
// left is due again. acted is called when all is done.
func (t *term) act(ctx context.Context, planned plan.Plan, acted func(Report)) {
	actor, reg := t.actor(), t.seen.snapshot.Registry
	byLane := map[lane][]plan.Verdict{}
	for _, v := range t.free(planned.Without(plan.ActKeep, plan.ActReport)) {
		byLane[laneOf(v)] = append(byLane[laneOf(v)], apart(v))
	}
	var total Report
	left := len(byLane)
	if left == 0 {
		acted(total)
	}
	for where, vs := range byLane {
		t.acting[where] = true
		t.beside(func() func() {
			bounded, cancel := context.WithTimeout(ctx, t.Policy.Interval)
			defer cancel()
			report := actor.act(bounded, reg, plan.Plan{Verdicts: vs})
			return func() {
				total.add(report)
				if left--; left == 0 {
					acted(total)
				}
				t.acted(where)
			}
		})
	}
}

// acted lets what was left out meanwhile be decided anew.
func (t *term) acted(where lane) {
	if t.missed[where] {
		t.soon()
	}
	delete(t.acting, where)
	delete(t.missed, where)
	if !t.busy(where.place) {
		t.trail.settle(where.place)
	}
}

// apart is the verdict with records of its own: those observed change as the watch tells.
func apart(v plan.Verdict) plan.Verdict {
	if v.Lease != nil {
		l := *v.Lease
		v.Lease = &l
	}
	if v.Launch != nil {
		l := *v.Launch
		v.Launch = &l
	}
	return v
}
