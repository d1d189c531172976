package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// direct lets people and faults come, each at its time.
func (w *world) direct() {
	r := w.dice.stream("director")
	all := w.shape.busy()
	for n := range w.shape.launches {
		token := fmt.Sprintf("web-%d", n)
		q := w.joining(drawRequest(r, token))
		due := between(r, 90*time.Second, all*2/3)
		if n == 0 {
			due = between(r, 75*time.Second, 3*time.Minute) // so that there is something to go wrong
		}
		if n == 1 && oneIn(r, 3) {
			q = w.strand(q)
		}
		w.at(due, func(r *rand.Rand) {
			w.mu.Lock()
			w.tokens[token], w.order = request{Request: q.Request}, append(w.order, token)
			w.mu.Unlock()
			if w.strands(token) {
				w.fleet.set(func(f *fleet) { f.capacity[zones[0]], f.capacity[zones[1]] = 2, 1 })
			}
			p := w.launch(token)
			if oneIn(r, 6) { // and is stopped at some step of it
				d := between(r, 10*time.Second, 8*time.Minute)
				time.AfterFunc(between(r, 0, 2*time.Second), func() { p.stop(d) })
			} else if oneIn(r, 3) { // and dies at some step of it
				time.AfterFunc(between(r, 0, 3*time.Second), p.kill)
			}
			if oneIn(r, 6) { // and so does somebody else with the same token
				w.launch(token)
			}
		})
	}
	for range w.shape.faults {
		f := weighted(r, faults(), func(f fault) int { return f.weight })
		w.at(between(r, 30*time.Second, all), func(r *rand.Rand) {
			if lasts, struck_ := f.strike(w, r); struck_ {
				w.trace.add(event{kind: struck, id: f.name, until: time.Now().Add(lasts)})
			}
		})
	}
	for range w.shape.deeds {
		d := weighted(r, deeds(), func(d deed) int { return d.weight })
		w.at(between(r, 2*time.Minute, all), func(r *rand.Rand) {
			dies, after := oneIn(r, 10), between(r, 0, time.Second)
			p := w.person(d.name, func(p *process) error { return d.do(p, r) })
			if dies {
				time.AfterFunc(after, p.kill)
			}
		})
	}
	for n := range 3 { // backups
		w.at(all/4*time.Duration(n+1), func(*rand.Rand) { w.keep(w.etcd.Image()) })
	}
	w.at(between(r, all/2, all), func(*rand.Rand) { // somebody looks after what was lost, sooner or later
		w.person("set right", setRight)
	})
}

// at lets something happen after so long, unless all is calm by then. Its dice are its own.
func (w *world) at(after time.Duration, do func(*rand.Rand)) {
	r := w.dice.stream(fmt.Sprint("at ", w.next()))
	time.AfterFunc(after, func() {
		if !w.isCalm() {
			do(r)
		}
	})
}

// weighted picks one by its weight.
func weighted[T any](r *rand.Rand, from []T, weight func(T) int) T {
	total := 0
	for _, f := range from {
		total += weight(f)
	}
	n := r.IntN(total)
	for _, f := range from {
		if n -= weight(f); n < 0 {
			return f
		}
	}
	return from[0]
}
