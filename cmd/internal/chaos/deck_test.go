//go:build chaos

package chaos

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// fault is something that goes wrong for a while.
type fault struct {
	family  string // of kinds that are much alike
	name    string
	on      string        // whom it befalls: at most one thing at a time
	longest time.Duration // it lasts between a quarter of this and all of it
	strike  func() func() // begins it, and returns what ends it; nil if there was nobody to befall
}

// faults are all kinds of them.
func (w *world) faults() []fault {
	return slices.Concat(w.etcdFaults(), w.janitorFaults(), w.sidecarFaults(), w.clockFaults(), w.linkFaults(), w.launcherFaults(), w.cloudFaults())
}

// deck deals faults so that each family comes before any comes again, and of each family each kind.
type deck struct {
	random *rand.Rand
	all    map[string][]fault // by family: next is the first
	left   []string           // families
	rounds int
}

func newDeck(random *rand.Rand, all []fault) *deck {
	d := &deck{random: random, all: map[string][]fault{}}
	for _, f := range all {
		d.all[f.family] = append(d.all[f.family], f)
	}
	for _, family := range slices.Sorted(maps.Keys(d.all)) {
		kinds := d.all[family]
		random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	}
	d.shuffle()
	return d
}

func (d *deck) shuffle() {
	d.left = slices.Sorted(maps.Keys(d.all))
	d.random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
}

// deal takes out the next fault that befalls nobody whom another one befalls already.
func (d *deck) deal(taken map[string]bool) (fault, bool) {
	if len(d.left) == 0 {
		d.rounds++
		d.shuffle()
	}
	for n, family := range d.left {
		if f := d.all[family][0]; !taken[f.on] {
			d.left = slices.Delete(d.left, n, n+1)
			d.all[family] = append(d.all[family][1:], f)
			return f, true
		}
	}
	return fault{}, false
}

// enough reports whether every family came, or every kind.
func (d *deck) enough(kinds bool) bool {
	most := 1
	for _, family := range d.all {
		most = max(most, len(family))
	}
	return d.rounds >= most || !kinds && d.rounds >= 1
}

// populate brings up what there is when the faults begin.
func (w *world) populate() {
	ctx, stop := context.WithCancel(w.t.Context())
	w.t.Cleanup(stop)
	w.fleet = &fleet{w: w, machines: map[string]*machine{}}
	w.crowd = &crowd{w: w, orders: map[string]*order{}, busy: map[*process]string{}}
	w.addBystanders() // before anybody looks, for some bear a client token of the people's
	w.beside(ctx, w.fleet.run)
	launching, over := context.WithCancel(ctx)
	w.over = over
	w.beside(launching, w.crowd.run)
	within(w.t, "a population", func() bool { return len(w.fleet.renewing()) >= population*9/10 })
	for n := range uint64(2) {
		w.beside(launching, func(ctx context.Context) { w.crowd.operate(ctx, n) })
	}
	w.linear = newLinear(w)
	w.beside(launching, w.linear.run)
}

// form is how long a run is, and how much has to happen in it.
type form struct {
	lasts    time.Duration
	restores int
	kinds    bool    // every kind of fault has to come, and not only one of each family
	haste    float64 // by which faults are shorter
	atOnce   int     // faults, at most
}

// storm lets things go wrong, several at once, with healing in between. The restores of the whole cluster come at even
// distances.
func (w *world) storm(f form) {
	d := newDeck(w.random, w.faults())
	for _, kinds := range d.all {
		for _, kind := range kinds {
			if w.tally.expect("faults: " + kind.family); f.kinds {
				w.tally.expect("fault: " + kind.name)
			}
		}
	}
	began, doomed, done := time.Now(), 0, 0
	backup := w.backup()
	for time.Since(began) < f.lasts || !d.enough(f.kinds) || done < f.restores {
		due := f.lasts * time.Duration(done+1) / time.Duration(f.restores+1)
		if done < f.restores && time.Since(began) > due && w.history.checkpoint().Sequence > backup.sequence+2 {
			w.restore(backup)
			done++
			continue
		}
		if doomed < 2 || w.random.IntN(3) == 0 {
			doomed++
			w.doom(doomed)
		}
		w.gust(d, f)
		w.cluster.whole()
		w.calm()
		if done < f.restores && time.Since(backup.at) > f.lasts/4 && time.Since(began) < due-f.lasts/20 {
			backup = w.backup()
		}
	}
	w.crowd.working.Wait()
}

// doom launches something doomed, if people may launch just now.
func (w *world) doom(n int) {
	if w.crowd.enter() {
		go func() {
			defer w.crowd.working.Done()
			w.crowd.doom(n)
		}()
	}
}

// gust lets some faults strike at once, and heals each in its own time.
func (w *world) gust(d *deck, form form) {
	type healing struct {
		at   time.Time
		heal func()
	}
	var all []healing
	var names []string
	taken := map[string]bool{}
	for range 2 + w.random.IntN(form.atOnce-1) {
		f, ok := d.deal(taken)
		if !ok {
			break
		}
		lasts := time.Duration(float64(f.longest/4+time.Duration(w.random.Int64N(int64(f.longest*3/4)))) / form.haste)
		heal := f.strike()
		if heal == nil {
			d.left = append(d.left, f.family) // nobody was there: another time
			continue
		}
		taken[f.on] = true
		w.tally.add("faults: "+f.family, 1)
		w.tally.add("fault: "+f.name, 1)
		names = append(names, f.name)
		all = append(all, healing{time.Now().Add(lasts), heal})
	}
	if len(names) > 0 {
		w.t.Logf("%s: %s", time.Now().UTC().Format("15:04:05"), strings.Join(names, ", "))
	}
	slices.SortFunc(all, func(a, b healing) int { return a.at.Compare(b.at) })
	for _, h := range all {
		time.Sleep(time.Until(h.at))
		h.heal()
	}
}

// calm is a pause in which things recover, more or less.
func (w *world) calm() { time.Sleep(time.Duration(300+w.random.IntN(1700)) * time.Millisecond) }
