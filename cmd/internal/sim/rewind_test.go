package sim

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"lapse/lease"
	"lapse/lease/etcd/etcdsim"
)

// allSetBack is the fault in which etcd and what all janitors remember go back together.
const allSetBack = "everything set back"

// disk is a snapshot of everything that is kept: etcd, and the memory of each host.
type disk struct {
	taken    time.Time
	etcd     etcdsim.Image
	memories []map[string][]byte
}

func (w *world) snapshot() disk {
	d := disk{taken: time.Now(), etcd: w.etcd.Image()}
	for _, h := range w.hosts {
		d.memories = append(d.memories, h.memory())
	}
	return d
}

// rewind lets somebody take a snapshot of everything, and puts it back later, in one schedule of six. Meanwhile people
// extend, shorten and release, and janitors run all the time, or for a part of it, or not at all.
func (w *world) rewind() {
	r := w.dice.stream("rewind")
	if w.shape.rest > 0 || !oneIn(r, 6) {
		return
	}
	from, lasts := between(r, w.shape.busy()/4, w.shape.busy()/2), between(r, 2*time.Minute, w.shape.busy()/2-10*time.Second)
	switch r.IntN(3) {
	case 0:
		w.rewindLaunch(lasts)
		return
	case 1:
		w.outnumber(r, from, lasts)
	}
	w.at(from, func(r *rand.Rand) {
		end := time.Now().Add(lasts)
		taken := w.snapshot()
		if quiet := pick(r, -1, 0, lasts/2); quiet >= 0 {
			w.at(quiet, func(*rand.Rand) {
				for n, h := range w.hosts {
					h.rest(end.Add(time.Second+time.Duration(n)*7*time.Second), true) // no two begin at the same instant
				}
			})
		}
		w.at(lasts, func(*rand.Rand) { w.putBack(taken) })
	})
	for range 5 {
		w.at(from+between(r, time.Second, lasts), func(r *rand.Rand) {
			w.person("extend", func(p *process) error {
				id, err := someLease(p, r, func(l lease.Lease) bool { return l.Live() && !l.ExpiresAt.IsZero() })
				if err != nil {
					return err
				}
				return extendTo(p, id, between(r, 5*time.Minute, 50*time.Minute))
			})
		})
	}
	for _, d := range []deed{{"shorten", 1, shorten}, {"release", 1, func(p *process, r *rand.Rand) error { return takeAway(p, r, lease.CauseRelease) }}} {
		w.at(from+between(r, -time.Minute, lasts), func(r *rand.Rand) {
			if oneIn(r, 2) {
				w.person(d.name, func(p *process) error { return d.do(p, r) })
			}
		})
	}
}

// rewindLaunch takes the snapshot just when the first launch is about to be sent, so that afterwards no record tells of the leases
// that it was given. Some of its instances end by themselves before that.
func (w *world) rewindLaunch(lasts time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sending = func() {
		taken := w.snapshot()
		w.at(lasts-10*time.Second, func(r *rand.Rand) {
			w.fleet.change(r, running, func(m *machine) { w.fleet.end(m) })
			w.fleet.change(r, running, func(m *machine) { w.fleet.end(m) })
		})
		w.at(lasts, func(*rand.Rand) { w.putBack(taken) })
	}
}

// outnumber lets one lease be extended between snapshot and set-back, and shortened before them perhaps. As soon as everything
// is set back, some short extensions give its record a higher number than its tag has.
func (w *world) outnumber(r *rand.Rand, from, lasts time.Duration) {
	if oneIn(r, 2) {
		w.at(from-time.Minute, func(r *rand.Rand) {
			w.person("shorten", func(p *process) error { return w.move(p, r, between(r, 15*time.Minute, 30*time.Minute), true) })
		})
	}
	w.at(from+time.Second, func(r *rand.Rand) {
		w.person("extend", func(p *process) error { return w.move(p, r, between(r, 35*time.Minute, 50*time.Minute), false) })
	})
	for n := range 3 {
		w.at(from+lasts+time.Duration(n+1)*700*time.Millisecond, func(r *rand.Rand) {
			w.person("extend", func(p *process) error {
				l, err := p.store().Lease(p.ctx, w.choose(""))
				if err != nil {
					return err
				}
				return w.move(p, r, l.ExpiresAt.Sub(p.clock.now())+2*time.Second, false)
			})
		})
	}
}

// choose notes which lease people have in mind, unless one is noted already, and tells which.
func (w *world) choose(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chosen == "" {
		w.chosen = id
	}
	return w.chosen
}

// move moves the date of the lease that people have in mind.
func (w *world) move(p *process, r *rand.Rand, to time.Duration, shorter bool) error {
	id := w.choose("")
	if id == "" {
		some, err := someLease(p, r, func(l lease.Lease) bool { return l.State == lease.StateActive && (!l.ExpiresAt.IsZero() || shorter) })
		if err != nil {
			return err
		}
		id = w.choose(some)
	}
	if !shorter {
		return extendTo(p, id, to)
	}
	return shortenTo(p, id, to)
}

// putBack makes everything what it was. The janitors are stopped, and start again with what they remembered then.
func (w *world) putBack(d disk) {
	w.lose()
	for n, h := range w.hosts {
		h.mu.Lock()
		h.back = d.memories[n]
		if h.back == nil {
			h.back = map[string][]byte{}
		}
		p := h.process
		h.mu.Unlock()
		if p != nil {
			p.kill()
		}
	}
	w.etcd.Restore(d.etcd)
	w.trace.add(event{kind: struck, id: allSetBack, until: time.Now(), sent: d.taken})
}

// memory is what is kept in the directory of the host.
func (h *host) memory() map[string][]byte {
	h.mu.Lock()
	dir := h.dir
	h.mu.Unlock()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files // it has not run yet
	}
	for _, e := range entries {
		if data, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && e.Type().IsRegular() {
			files[e.Name()] = data
		}
	}
	return files
}

// settleIn puts files into a new directory.
func settleIn(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
