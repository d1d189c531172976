package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/etcd/etcdsim"
)

// fault is something that goes wrong, for a while if it says so.
type fault struct {
	name   string
	weight int
	strike func(w *world, r *rand.Rand) (lasts time.Duration, struck bool)
}

func faults() []fault {
	return slices.Concat(etcdFaults(), ec2Faults(), tagFaults(), processFaults())
}

func etcdFaults() []fault {
	return []fault{
		{"etcd stalls", 3, func(w *world, r *rand.Rand) (time.Duration, bool) { return w.halt(r, w.etcd.Stall), true }},
		{"etcd freezes", 3, func(w *world, r *rand.Rand) (time.Duration, bool) { return w.halt(r, w.etcd.Freeze), true }},
		{"etcd elects", 3, func(w *world, r *rand.Rand) (time.Duration, bool) { w.etcd.Elect(); return 0, true }},
		{"etcd is full", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, 30*time.Second, 7*time.Minute)
			w.etcd.Alarm(true)
			time.AfterFunc(d, func() { w.etcd.Alarm(false) })
			return d, true
		}},
		{"heartbeats deleted", 4, func(w *world, r *rand.Rand) (time.Duration, bool) {
			w.etcd.ExpireAll("/lapse/" + namespace + "/heartbeats/")
			return 0, true
		}},
		{"ghost heartbeats", 2, func(w *world, r *rand.Rand) (time.Duration, bool) { return 0, w.haunt(r) > 0 }},
		{"etcd compacts", 1, func(w *world, r *rand.Rand) (time.Duration, bool) { w.etcd.Compact(); return 0, true }},
		{"etcd emptied", 1, func(w *world, r *rand.Rand) (time.Duration, bool) { w.lose(); w.etcd.Wipe(); return 0, true }},
		{"etcd restored", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			w.mu.Lock()
			images := w.images
			w.mu.Unlock()
			if len(images) == 0 {
				return 0, false
			}
			w.lose()
			term := w.etcd.Term()
			w.etcd.Restore(images[r.IntN(len(images))])
			if oneIn(r, 2) { // as a restored directory may have it
				w.etcd.SetTerm(term)
			}
			return 0, true
		}},
		{"calls to etcd fail", 4, func(w *world, r *rand.Rand) (time.Duration, bool) { return w.trip(toEtcd, r), true }},
		{"calls to EC2 fail", 4, func(w *world, r *rand.Rand) (time.Duration, bool) { return w.trip(toEC2, r), true }},
	}
}

// halt lets etcd serve nothing for a while.
func (w *world) halt(r *rand.Rand, how func() (wake func())) time.Duration {
	d := pick(r, between(r, 2*time.Second, 20*time.Second), between(r, 20*time.Second, 3*time.Minute), between(r, 3*time.Minute, 9*time.Minute))
	wake := how()
	w.mu.Lock()
	w.wakes = append(w.wakes, wake)
	w.mu.Unlock()
	time.AfterFunc(d, wake)
	return d
}

// haunt leaves heartbeats of instances that no sidecar renews, and that no etcd lease holds.
func (w *world) haunt(r *rand.Rand) int {
	client := w.etcd.Client("ghost", nil)
	n := 0
	for _, kv := range w.etcd.Dump("/lapse/" + namespace + "/leases/") {
		_, id := location(string(kv.Key))
		if w.fleet.heartbeats(id) || oneIn(r, 2) {
			continue
		}
		value := fmt.Sprintf(`{"schema":3,"instance_id":%q,"boot_id":"ghost","changes":0,"heartbeat_timeout":"1m0s","since":"2000-01-01T00:00:00Z"}`, id)
		if _, err := client.Put(w.ctx, "/lapse/"+namespace+"/heartbeats/"+id, value); err == nil {
			n++
		}
	}
	return n
}

// heartbeats reports whether the sidecar of an instance runs.
func (f *fleet) heartbeats(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.byID[id]
	return m != nil && m.sidecar != nil && m.sidecar.alive()
}

// lose notes that records were lost, so that somebody sees to it.
func (w *world) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lostData = true
}

// trip lets many calls go wrong for a while.
func (w *world) trip(to side, r *rand.Rand) time.Duration {
	d := between(r, time.Minute, 6*time.Minute)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lossy[to] = time.Now().Add(d)
	return d
}

func ec2Faults() []fault {
	refuse := func(code string) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, 30*time.Second, 5*time.Minute)
			w.fleet.set(func(f *fleet) { f.refusing[code] = time.Now().Add(d) })
			return d, true
		}
	}
	one := func(fits func(*machine) bool, do func(*world, *rand.Rand, *machine)) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			return 0, w.fleet.change(r, fits, func(m *machine) { do(w, r, m) })
		}
	}
	stopped := func(m *machine) bool { return m.state == types.InstanceStateNameStopped }
	return []fault{
		{"EC2 throttles", 2, refuse("RequestLimitExceeded")},
		{"EC2 answers 500", 2, refuse("InternalError")},
		{"zone out of reach", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d, zone := between(r, time.Minute, 6*time.Minute), pick(r, zones...)
			w.fleet.set(func(f *fleet) { f.away[zone] = time.Now().Add(d) })
			return d, true
		}},
		{"stale listings", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d, stale := between(r, 2*time.Minute, 10*time.Minute), between(r, time.Second, maxStale)
			w.fleet.set(func(f *fleet) { f.staleUntil, f.stale = time.Now().Add(d), stale })
			return d, true
		}},
		{"short listings", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d, share, blind := between(r, time.Minute, 12*time.Minute), pick(r, 0, 0.5, 0.8), oneIn(r, 2)
			if blind { // for less than it takes until what is absent counts as gone
				d = min(d, w.shape.policy.AbsentFor-time.Minute)
			}
			w.fleet.set(func(f *fleet) {
				f.shortUntil, f.short = time.Now().Add(d), share
				if blind && time.Since(f.blindUntil) > 2*time.Minute { // so that a sweep sees the present state before
					f.blindUntil = f.shortUntil
				}
			})
			return d, true
		}},
		{"small pages", 1, func(w *world, r *rand.Rand) (time.Duration, bool) {
			w.fleet.set(func(f *fleet) { f.pageSize = 2 })
			return 0, true
		}},
		{"no capacity", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			n, zone := r.IntN(4), pick(r, zones...)
			w.fleet.set(func(f *fleet) { f.capacity[zone] = n })
			return 0, true
		}},
		{"launches denied", 5, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, 20*time.Second, 3*time.Minute)
			w.fleet.set(func(f *fleet) { f.deniedUntil = time.Now().Add(d) })
			return d, true
		}},
		{"replays mismatch", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, time.Minute, 5*time.Minute)
			w.fleet.set(func(f *fleet) { f.mismatchUntil = time.Now().Add(d) })
			return d, true
		}},
		{"instance protected", 2, one(running, func(w *world, r *rand.Rand, m *machine) { m.protected = true })},
		{"instance exempted", 2, one(running, func(w *world, r *rand.Rand, m *machine) {
			w.fleet.tag(m, func(tags map[string]string) { tags[exemptTag] = "" })
		})},
		{"instance stopped", 3, one(running, func(w *world, r *rand.Rand, m *machine) {
			w.fleet.enter(m, types.InstanceStateNameStopping)
			time.AfterFunc(between(r, time.Minute, 9*time.Minute), func() { w.fleet.restart(m) })
		})},
		{"instance started", 1, one(stopped, func(w *world, r *rand.Rand, m *machine) {
			m.launched = time.Now().Truncate(time.Second)
			w.fleet.enter(m, types.InstanceStateNamePending)
		})},
		{"spot interruption", 2, one(running, func(w *world, r *rand.Rand, m *machine) { w.fleet.end(m) })},
	}
}

// maxStale is how old listings are at most.
const maxStale = 40 * time.Second

func (f *fleet) set(change func(*fleet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fleet) restart(m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.state == types.InstanceStateNameStopped {
		m.launched = time.Now().Truncate(time.Second)
		f.enter(m, types.InstanceStateNamePending)
	}
}

func processFaults() []fault {
	some := func(do func(*world, *rand.Rand, *host, *process) time.Duration) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			h := w.hosts[r.IntN(len(w.hosts))]
			if p := h.running(); p != nil {
				return do(w, r, h, p), true
			}
			return 0, false
		}
	}
	sidecars := func(share float64, do func(*machine, *process)) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) { return 0, w.fleet.sidecars(r, share, do) > 0 }
	}
	gone := func(m *machine, p *process) { p.kill() }
	return []fault{
		{"janitor killed", 6, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration { p.kill(); return 0 })},
		{"janitor stopped", 6, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			d := pick(r, between(r, 2*time.Second, 30*time.Second), between(r, 30*time.Second, 10*time.Minute))
			p.stop(d)
			return d
		})},
		{"janitor cut off from etcd", 3, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			d := between(r, 5*time.Second, 6*time.Minute)
			p.cutOff(toEtcd, d)
			return d
		})},
		{"janitor cut off from EC2", 2, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			d := between(r, 5*time.Second, 6*time.Minute)
			p.cutOff(toEC2, d)
			return d
		})},
		{"janitor's account changes", 3, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			d := pick(r, between(r, time.Minute, 12*time.Minute), between(r, 12*time.Minute, 30*time.Minute))
			p.mu.Lock()
			defer p.mu.Unlock()
			p.elsewhere = time.Now().Add(d)
			return d
		})},
		{"janitor forgets", 1, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			h.mu.Lock()
			h.forgets = true
			h.mu.Unlock()
			p.kill()
			return 0
		})},
		{"leaders come and go", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			for n := range 5 {
				time.AfterFunc(time.Duration(n)*40*time.Second, func() {
					if p := w.hosts[n%2].running(); p != nil && !w.isCalm() {
						p.kill()
					}
				})
			}
			return 200 * time.Second, true
		}},
		{clockSteps, 4, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			d := between(r, time.Minute, 12*time.Minute)
			h.clock.set(pick[time.Duration](r, -1, 1)*pick(r, 8*time.Second, 15*time.Second, between(r, time.Minute, time.Hour), time.Hour), 0)
			time.AfterFunc(d, func() { h.clock.set(0, 0) })
			return d
		})},
		{"clock drifts", 2, some(func(w *world, r *rand.Rand, h *host, p *process) time.Duration {
			h.clock.set(0, pick(r, -1.0, 1.0)*0.02)
			return 0
		})},
		{"launcher stopped", 4, func(w *world, r *rand.Rand) (time.Duration, bool) {
			w.mu.Lock()
			last := w.launches
			w.mu.Unlock()
			d := between(r, 10*time.Second, 8*time.Minute)
			if len(last) == 0 || !last[len(last)-1].alive() {
				return d, false
			}
			last[len(last)-1].stop(d)
			return d, true
		}},
		{"sidecar dies", 8, sidecars(0, gone)},
		{"half of the sidecars die", 1, sidecars(0.5, gone)},
		{"hostile heartbeats", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			n := w.fleet.sidecars(r, 0, func(m *machine, p *process) { w.steal(r, m, p) })
			return 0, n > 0
		}},
		{"sidecar restarts", 2, sidecars(0, func(m *machine, p *process) {
			p.kill()
			m.sidecar = nil
			m.starts++
			start := m.starts
			time.AfterFunc(5*time.Second, func() { p.w.fleet.boot(m, fmt.Sprintf("sidecar-%s.%d", m.id[len(m.id)-3:], start), start) })
		})},
		{"sidecar stopped", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, 30*time.Second, 10*time.Minute)
			return d, w.fleet.sidecars(r, 0, func(m *machine, p *process) { p.stop(d) }) > 0
		}},
		{"zone cut off from etcd", 3, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d, zone := between(r, time.Minute, 15*time.Minute), pick(r, zones...)
			n := w.fleet.sidecars(r, 1, func(m *machine, p *process) {
				if m.zone == zone {
					p.cutOff(toEtcd, d)
					p.cutOff(toAPI, d)
				}
			})
			return d, n > 0
		}},
	}
}

// sidecars does something to one sidecar that runs, or to a share of them.
func (f *fleet) sidecars(r *rand.Rand, share float64, do func(*machine, *process)) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var alive []*machine
	for _, m := range f.machines {
		if m.sidecar != nil && m.sidecar.alive() {
			alive = append(alive, m)
		}
	}
	r.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	n := min(len(alive), max(1, int(share*float64(len(alive)))))
	for _, m := range alive[:n] {
		do(m, m.sidecar)
	}
	return n
}

func (w *world) isCalm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calmed
}

// keep takes an image of etcd, as backups do.
func (w *world) keep(i etcdsim.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images = append(w.images, i)
}
