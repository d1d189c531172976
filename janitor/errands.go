package janitor

import (
	"context"
	"slices"

	"lapse/lease"
)

// errands are what runs beside a term's goroutine: looks at EC2, and plans being carried out. They share nothing with
// it, and each hands back a function that the term's goroutine calls.
type errands struct {
	back   chan func()
	out    int                  // errands that have not come back
	acting map[lease.Place]bool // places in which a plan is being carried out
	missed map[lease.Place]bool // places where more was to be done meanwhile
}

func newErrands() errands {
	return errands{back: make(chan func()), acting: map[lease.Place]bool{}, missed: map[lease.Place]bool{}}
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

// free leaves out the places in which an earlier plan is still being carried out. What is due there is decided anew
// after that.
func (e *errands) free(vs []Verdict) []Verdict {
	return slices.DeleteFunc(vs, func(v Verdict) bool {
		if e.acting[v.Place] {
			e.missed[v.Place] = true
		}
		return e.acting[v.Place]
	})
}

// act carries a plan out, each place by itself, for an interval at most, so that sweeps and their stamps go on. What is
// left is due again. acted is called when all is done.
func (t *term) act(ctx context.Context, plan Plan, acted func(Report)) {
	actor, reg := t.actor(), t.seen.snapshot.Registry
	byPlace := map[lease.Place][]Verdict{}
	for _, v := range t.free(plan.without(ActKeep, ActReport)) {
		byPlace[v.Place] = append(byPlace[v.Place], v.apart())
	}
	var total Report
	left := len(byPlace)
	if left == 0 {
		acted(total)
	}
	for place, vs := range byPlace {
		t.acting[place] = true
		t.beside(func() func() {
			bounded, cancel := context.WithTimeout(ctx, t.Policy.Interval)
			defer cancel()
			report := actor.act(bounded, reg, Plan{Verdicts: vs})
			return func() {
				total.add(report)
				if left--; left == 0 {
					acted(total)
				}
				t.acted(place)
			}
		})
	}
}

// acted lets what was left out meanwhile be decided anew.
func (t *term) acted(place lease.Place) {
	if t.missed[place] {
		t.soon()
	}
	delete(t.acting, place)
	delete(t.missed, place)
	t.trail.settle(place)
}

// apart is the verdict with records of its own: those observed change as the watch tells.
func (v Verdict) apart() Verdict {
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
