package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"lapse/lease/etcd"
	"lapse/lease/etcd/etcdsim"
)

// clock is a machine's wall clock, which may be wrong. Time itself, which the bubble keeps, is never seen to step.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	drift float64 // seconds gained a second
	since time.Time
}

func newClock() *clock { return &clock{since: time.Now()} }

// someClock is that of a person's or an instance's machine: one of eight is wrong, by seconds, by hours or by years. Who sets
// right what only people can, after all is calm, knows the time.
func (w *world) someClock(name string) *clock {
	c := newClock()
	r := w.dice.stream("clock of " + name)
	if oneIn(r, 8) && !w.isCalm() {
		c.set(pick[time.Duration](r, -1, 1)*pick(r, 8*time.Second, between(r, time.Minute, 3*time.Hour), between(r, time.Hour, 400*24*time.Hour)), 0)
	}
	return c
}

// now is what the clock shows, without a monotonic reading.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.off())
}

func (c *clock) off() time.Duration {
	return c.ahead + time.Duration(c.drift*float64(time.Since(c.since)))
}

// set makes the clock go so far ahead, or behind, and then drift.
func (c *clock) set(ahead time.Duration, drift float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.drift, c.since = ahead, drift, time.Now()
}

// side is whom a process talks to.
type side int

const (
	toEtcd side = iota
	toEC2
	toAPI
	sides
)

// process is a program on a machine. All that it sends and hears passes through here, so that it can be killed, stopped
// and cut off at any call.
type process struct {
	w     *world
	name  string
	role  string
	clock *clock
	ctx   context.Context
	end   context.CancelFunc
	done  chan struct{} // closed when its main function returned

	mu        sync.Mutex
	asked     map[string]tally
	dead      bool
	stopped   time.Time        // until then nothing leaves it
	elsewhere time.Time        // until then its credentials are of another account
	cut       [sides]time.Time // until then nothing passes
}

// start runs main as a process of its own. What is asked of chance depends on the name, so it must be new.
func (w *world) start(name, role string, c *clock, run func(*process)) *process {
	p := &process{w: w, name: name, role: role, clock: c, asked: map[string]tally{}, done: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(w.ctx)
	w.trace.add(event{kind: lived, who: name, text: role})
	w.mu.Lock()
	w.alive[name] = p
	w.mu.Unlock()
	w.processes.Go(func() {
		defer close(p.done)
		defer p.kill()
		run(p)
	})
	return p
}

// kill ends the process as SIGKILL does: what it has not sent is never sent, and what is under way lands.
func (p *process) kill() {
	p.mu.Lock()
	dead := p.dead
	p.dead = true
	p.mu.Unlock()
	if !dead {
		p.w.trace.add(event{kind: died, who: p.name, text: p.role})
	}
	p.end()
}

// stop holds everything that the process sends from now on for so long, as SIGSTOP does.
func (p *process) stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = time.Now().Add(d)
}

// cutOff lets nothing pass between the process and one side for so long at least.
func (p *process) cutOff(from side, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.cut[from]) {
		p.cut[from] = until
	}
}

// tally counts the instants at which something was asked.
type tally struct {
	times int
	last  time.Time
}

// fate of a call on its way.
type fate struct {
	before, after    time.Duration
	lost, unanswered bool
	reset            bool          // the caller is told at once, and not left to wait
	noticed          time.Duration // how late a caller that gives up goes on
}

// fate decides what happens to the next call of this kind.
func (p *process) fate(to side, question string, quick, slow time.Duration) fate {
	now := time.Now()
	p.mu.Lock()
	n := p.asked[question]
	if !n.last.Equal(now) { // of two that ask at once, none is the first
		n = tally{n.times + 1, now}
		p.asked[question] = n
	}
	dead, stopped, cut := p.dead, p.stopped, p.cut[to]
	p.mu.Unlock()
	r := p.w.dice.of(p.name+" "+question, n.times)
	f := fate{before: r.between(quick, slow), after: r.between(quick, slow)}
	trouble := p.w.trouble(to)
	if strings.HasPrefix(question, "RunInstances ") && !p.w.isCalm() { // there is one of these for hundreds of others
		trouble = max(trouble, 0.15)
	}
	switch {
	case dead, now.Before(cut):
		f.lost = true
	case r.chance(trouble / 2):
		f.lost, f.reset = true, r.chance(0.5)
	case r.chance(trouble):
		f.unanswered, f.reset = true, r.chance(0.5)
	case r.chance(trouble): // late, perhaps later than the caller waits
		f.before += r.between(time.Second, 45*time.Second)
	case r.chance(trouble):
		f.after += r.between(time.Second, 45*time.Second)
	}
	if now.Before(stopped) {
		f.before += stopped.Sub(now)
	}
	f.noticed = r.between(time.Microsecond, time.Millisecond)
	return f
}

// etcdLink is the process's way to etcd.
func (p *process) etcdLink(op etcdsim.Op) etcdsim.Fate {
	f := p.fate(toEtcd, op.Kind+" "+op.Key, 200*time.Microsecond, 4*time.Millisecond)
	if op.Kind == "event" && !f.lost { // what is not lost of a watch comes late at worst
		f.unanswered = false
	}
	return etcdsim.Fate{Before: f.before, After: f.after, Lost: f.lost, Unanswered: f.unanswered}
}

// store is the registry as the process reaches it. With the usual bound of 30 s, what waited for EC2 for 30 s and then for
// etcd would give up at the very instant of the next sweep, and the two would come in any order.
func (p *process) store() *etcd.Store { return p.storeOf(namespace) }

func (p *process) storeOf(namespace string) *etcd.Store {
	const listTimeout = 29987 * time.Millisecond
	return etcd.New(p.w.etcd.Client(p.name, p.etcdLink), namespace, etcd.Options{PageSize: p.w.pageSize, ListTimeout: listTimeout})
}

func (p *process) String() string { return fmt.Sprintf("%s (%s)", p.name, p.role) }
