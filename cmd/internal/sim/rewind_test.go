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
