package sim

import (
	"math/rand/v2"
	"time"

	"lapse/lease"
)

// drawRest draws for how long nobody watches the registry: not at all, or for over an hour, after which nobody may
// trust it.
func drawRest(r *rand.Rand) time.Duration {
	if !oneIn(r, 20) {
		return 0
	}
	return between(r, 65*time.Minute, 75*time.Minute)
}

// rest lets no janitor reach the registry for so long: they are stopped, or cut off from etcd. Meanwhile somebody takes a
// backup, people extend, and mostly it is set back to that backup. No checkpoint tells of it, nor does what janitors remember.
// In some, all clocks of janitors are ahead when the last checkpoint is written, so that by its date too little time has passed.
func (w *world) rest() {
	if w.shape.rest == 0 {
		return
	}
	r := w.dice.stream("rest")
	from, stopped, setBack := between(r, w.shape.busy()/3, w.shape.busy()/2), !oneIn(r, 3), !oneIn(r, 4)
	all := oneIn(r, 2) // what janitors remember, too
	if oneIn(r, 3) {
		w.at(from-3*time.Minute, func(r *rand.Rand) {
			d := between(r, 3*time.Minute, 10*time.Minute)
			w.trace.add(event{kind: struck, id: clockSteps, until: time.Now().Add(d)})
			for _, h := range w.hosts {
				h.clock.set(between(r, 20*time.Minute, 50*time.Minute), 0)
				time.AfterFunc(d, func() { h.clock.set(0, 0) })
			}
		})
	}
	w.at(from, func(*rand.Rand) {
		until := time.Now().Add(w.shape.rest)
		w.trace.add(event{kind: struck, id: unwatched, until: until})
		for n, h := range w.hosts {
			h.rest(until.Add(time.Duration(n)*7*time.Second), stopped) // no two begin at the same instant
		}
	})
	w.at(from+4*time.Minute, func(*rand.Rand) {
		taken := w.snapshot()
		w.at(between(r, 40*time.Minute, w.shape.rest-6*time.Minute), func(*rand.Rand) {
			switch {
			case setBack && all:
				w.putBack(taken)
			case setBack:
				w.lose()
				w.etcd.Restore(taken.etcd)
				w.trace.add(event{kind: struck, id: "etcd restored", until: time.Now()})
			}
		})
	})
	for range 5 {
		w.at(from+between(r, 5*time.Minute, 40*time.Minute), func(r *rand.Rand) {
			w.person("extend", func(p *process) error {
				id, err := someLease(p, r, unwitnessed)
				if err != nil {
					return err
				}
				return extendTo(p, id, between(r, 40*time.Minute, 90*time.Minute))
			})
		})
	}
}

// unwitnessed reports whether no sidecar sees what becomes of a lease.
func unwitnessed(l lease.Lease) bool {
	return l.Live() && !l.ExpiresAt.IsZero() && l.HeartbeatTimeout == 0
}

// Faults of a rest.
const (
	unwatched  = "nobody watches"
	clockSteps = "clock steps"
)

// rest stops the janitor that runs on the host, or cuts it off from etcd, until then; none is started before that.
func (h *host) rest(until time.Time, stopped bool) {
	h.mu.Lock()
	h.rests = until
	p := h.process
	h.mu.Unlock()
	switch {
	case p == nil:
	case stopped:
		p.kill()
	default:
		p.cutOff(toEtcd, time.Until(until))
	}
}

// awake waits until the host does not rest.
func (h *host) awake() {
	h.mu.Lock()
	until := h.rests
	h.mu.Unlock()
	wait(h.w.ctx, time.Until(until))
}
