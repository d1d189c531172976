package sim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd/etcdsim"
)

// settling is how long the calm at the end lasts: see [bounds].
const settling = 25 * time.Minute

const (
	registryUUID = "0198c5a0-0000-7000-8000-00000000000a"
	foreignUUID  = "0198c5a0-0000-7000-8000-00000000000f"
	registryTag  = "lapse:registry"
	launchTag    = "lapse:launch"
	exemptTag    = "lapse:exempt"

	launchedRole  = "launched"  // through Lapse
	adoptableRole = "adoptable" // launched without it, to be adopted perhaps
	foreignRole   = "foreign"   // another registry's
	copiedRole    = "copied"    // "Launch more like this": our tags, another client token
)

// shape is what one schedule is like: how long, how many, how bad.
type shape struct {
	policy    plan.Policy
	chaos     time.Duration // in which faults strike
	calm      time.Duration // after it: everything works, and people have released the brakes that need them
	remembers time.Duration // for which EC2 shows what is terminated
	launches  int
	faults    int
	deeds     int           // of people
	trouble   float64       // share of all calls that goes wrong
	rest      time.Duration // of the chaos, in which nobody watches; see [world.rest]
	quirks    quirks
	calls     callShape // through the API
}

// busy is the chaos without the rest.
func (s shape) busy() time.Duration { return s.chaos - s.rest }

// hasty is the policy of all schedules: the defaults, except for their lengths.
func hasty() plan.Policy {
	p := plan.DefaultPolicy()
	p.BootGrace, p.MarkGrace, p.LoneGrace = 5*time.Minute, 2*time.Minute, 4*time.Minute
	p.LaunchWindow, p.AbsentFor, p.RetryMax = 4*time.Minute, 5*time.Minute, 4*time.Minute
	p.LostMemory, p.RateWindow, p.LeadershipWindow = 15*time.Minute, 3*time.Minute, 10*time.Minute
	p.Retention, p.ChosenRetention = 6*time.Hour, 12*time.Hour
	p.CompleteAdoptions = true
	return p
}

func drawShape(r *rand.Rand) shape {
	return shape{
		policy: hasty(), chaos: between(r, 16*time.Minute, 34*time.Minute), calm: settling, remembers: pick(r, time.Minute, 10*time.Minute, time.Hour),
		launches: 3 + r.IntN(3), faults: 5 + r.IntN(9), deeds: 3 + r.IntN(10), trouble: pick(r, 0, 0, 0.002, 0.01, 0.04),
	}
}

// world is one schedule.
type world struct {
	dice     dice
	shape    shape
	trace    *trace
	etcd     *etcdsim.Cluster
	fleet    *fleet
	ctx      context.Context
	dir      string // of the janitors' memories
	pageSize int64
	log      *slog.Logger

	processes sync.WaitGroup
	hosts     []*host
	front     *front // nil if no instance calls the API
	thieves   []*process

	mu       sync.Mutex
	lossy    [sides]time.Time // until then many calls go wrong
	images   []etcdsim.Image
	wakes    []func()           // that end stalls of etcd
	tokens   map[string]request // of all launches so far
	launches []*process
	alive    map[string]*process // by name
	order    []string            // the same, in order
	serial   int
	stolen   int             // instances
	chosen   string          // the lease that people have in mind
	sending  func()          // what to do when a launch is about to be sent, once
	stranded map[string]bool // launches whose launcher dies when it has sent the rest
	lostData bool            // the registry was emptied or set back, and nobody has seen to it
	calmed   bool
}

// outcome is one schedule as it went.
type outcome struct {
	seed  uint64
	shape shape
	trace *trace
	end   ending
}

// ending is what is there in the end.
type ending struct {
	at         time.Time
	pieces     []piece
	keyPairs   []keyPair
	heartbeats map[string]bool // instances whose sidecar runs
	guards     map[string]bool // instances that EC2 or a tag protects
}

// simulate runs the schedule of a seed.
func simulate(t *testing.T, seed uint64) outcome {
	t.Helper()
	var o outcome
	synctest.Test(t, func(t *testing.T) {
		o = run(t, seed)
	})
	return o
}

func run(t *testing.T, seed uint64) outcome {
	t.Helper()
	w := &world{dice: dice(scramble(seed)), trace: &trace{began: time.Now()}, tokens: map[string]request{}, alive: map[string]*process{}, stranded: map[string]bool{}, log: slog.New(slog.DiscardHandler)}
	if os.Getenv("SIM_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r := w.dice.stream("shape")
	w.shape, w.pageSize = drawShape(r), int64(pick(r, 7, 5000))
	w.shape.rest = drawRest(w.dice.stream("whether they rest"))
	w.shape.chaos += w.shape.rest
	w.shape.quirks = drawQuirks(w.dice.stream("whether client tokens are ignored"))
	w.shape.calls = drawCalls(w.dice.stream("who calls the API"))
	w.dir = memories(t)
	defer func() { _ = os.RemoveAll(w.dir) }()
	ctx, end := context.WithCancel(t.Context())
	w.ctx = ctx
	w.etcd = etcdsim.New(etcdsim.Options{Observe: w.saw})
	w.fleet = newFleet(w)
	w.person("init", func(p *process) error { return initialise(p, registryUUID) })
	w.startTheirs()
	w.strangers()
	for _, name := range []string{"a", "b"} {
		w.hosts = append(w.hosts, w.newHost("janitor-"+name))
	}
	w.direct()
	w.rest()
	w.rewind()
	w.openAPI()
	time.Sleep(w.shape.chaos)
	w.calm()
	time.Sleep(w.shape.calm)
	w.trace.end()
	o := outcome{seed: seed, shape: w.shape, trace: w.trace, end: w.fleet.ending()}
	end()
	w.processes.Wait()
	if w.front != nil { // what it has begun to ask EC2 outlives whoever asked, and may land even later
		time.Sleep(answering)
		w.processes.Wait()
	}
	w.etcd.Close()
	return o
}

// saw takes in a change of what etcd keeps.
func (w *world) saw(c etcdsim.Commit) {
	w.trace.add(event{kind: committed, who: c.By, commit: &c})
	if w.isCalm() || c.By == "" {
		return
	}
	for _, put := range c.Puts {
		w.provoke(c, put)
	}
}

// provoke makes races happen at the worst moment: a heartbeat returns, or a lease is extended, just when its time runs
// out, and a launcher stops just before it binds. Clocks step while a heartbeat is lost, by less than the clock brake
// tolerates.
func (w *world) provoke(c etcdsim.Commit, put etcdsim.Change) {
	kind, id := location(put.Key)
	news := func(text string) bool {
		return bytes.Contains(put.Value, []byte(text)) && !bytes.Contains(put.Before, []byte(text))
	}
	r := w.dice.of("provokes "+id, int(c.Revision))
	switch {
	case kind == "leases" && news(`"mark":{"cause":"heartbeat-lost"`) && r.chance(0.3):
		grace := w.shape.policy.MarkGrace
		if r.chance(0.3) {
			grace = w.shape.policy.LoneGrace
		}
		time.AfterFunc(grace+r.between(-100*time.Millisecond, 700*time.Millisecond), func() { w.fleet.revive(id) })
	case kind == "leases" && news(`"mark":{"cause":"heartbeat-lost"`) && r.chance(0.1):
		time.AfterFunc(w.shape.policy.MarkGrace/2, w.stepClocks)
	case kind == "leases" && put.Before == nil && r.chance(0.4):
		if l, err := read[leaseRecord](put.Value); err == nil && !l.ExpiresAt.IsZero() {
			last := time.Until(l.ExpiresAt) + r.between(-200*time.Millisecond, 600*time.Millisecond)
			soonest := r.between(0, time.Millisecond) // of several that are bound too late, none at the same instant
			time.AfterFunc(max(last, soonest), func() { w.extendLate(id) })
		}
	case kind == "launches" && news(`"sends":1`) && w.isSending():
	case kind == "launches" && w.strands(id) && bytes.Count(put.Value, []byte(`"sends":1`)) > max(2, bytes.Count(put.Before, []byte(`"sends":1`))):
		w.killLater(c.By, r.between(150*time.Millisecond, 450*time.Millisecond)) // between EC2's deed and the word of it
	case kind == "launches" && news(`"outcome":"launched"`) && r.chance(0.1):
		w.mu.Lock()
		defer w.mu.Unlock()
		if p := w.alive[c.By]; p != nil {
			p.stop(r.between(10*time.Second, 8*time.Minute))
		}
	}
}

// isSending lets happen what is to when a launch is about to be sent, and reports whether anything is.
func (w *world) isSending() bool {
	w.mu.Lock()
	do := w.sending
	w.sending = nil
	w.mu.Unlock()
	if do == nil {
		return false
	}
	time.AfterFunc(time.Millisecond, do)
	return true
}

// stepClocks sets the janitors' clocks ahead, and right again a little later.
func (w *world) stepClocks() {
	if w.isCalm() {
		return
	}
	for _, h := range w.hosts {
		h.clock.set(8*time.Second, 0)
		time.AfterFunc(2*time.Minute, func() { h.clock.set(0, 0) })
	}
}

// extendLate lets two people extend a lease at once, when it may be too late.
func (w *world) extendLate(id string) {
	if w.isCalm() {
		return
	}
	for range 2 {
		w.person("extend", func(p *process) error { return extendTo(p, id, 10*time.Minute) })
	}
}

// memories is a directory for what janitors remember, in memory where there is such a thing: it is synced at each checkpoint.
func memories(t *testing.T) string {
	t.Helper()
	for _, parent := range []string{"/dev/shm", ""} {
		if dir, err := os.MkdirTemp(parent, "lapse-sim"); err == nil { //nolint:usetesting // a hundred thousand in one test
			return dir
		}
	}
	t.Fatal("no directory for the janitors' memories")
	return ""
}

// strangers are instances that Lapse does not manage.
func (w *world) strangers() {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	for n, m := range []*machine{
		{role: foreignRole, token: "web-0.1", tags: map[string]string{registryTag: foreignUUID, launchTag: "web-0.1"}},
		{role: copiedRole, token: "console-1", tags: map[string]string{registryTag: registryUUID, launchTag: "web-0.1"}},
		{role: adoptableRole, token: "by-hand-1"},
		{role: adoptableRole, token: "by-hand-2"},
	} {
		m.zone = zones[n%len(zones)]
		w.fleet.add(m)
	}
	w.fleet.nobodysKeys()
}

// trouble is the share of calls to a side that go wrong just now.
func (w *world) trouble(to side) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.calmed:
		return 0
	case time.Now().Before(w.lossy[to]):
		return max(0.15, w.shape.trouble)
	}
	return w.shape.trouble
}

// calm heals everything, and lets people do what only they can do, again and again until the end.
func (w *world) calm() {
	w.mu.Lock()
	w.calmed = true
	wakes := w.wakes
	w.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
	w.etcd.Alarm(false)
	w.fleet.heal()
	for _, h := range w.hosts {
		h.calm()
	}
	w.fleet.reconnect()
	w.front.calm()
	w.trace.add(event{kind: beganCalm})
	w.processes.Go(func() {
		for round := 0; w.ctx.Err() == nil; round++ {
			w.person(fmt.Sprintf("set right %d", round), setRight)
			wait(w.ctx, 2*time.Minute+time.Duration(w.dice.of("round", round)%1e9))
		}
	})
}

// next is a number that no other has.
func (w *world) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return w.serial
}

// reconnect ends what keeps sidecars from being heard. The dead stay dead.
func (f *fleet) reconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.machines {
		if m.sidecar != nil {
			m.sidecar.heal()
		}
	}
}

func (p *process) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped, p.cut = time.Time{}, [sides]time.Time{}
	p.elsewhere = time.Now()
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

func (f *fleet) ending() ending {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := ending{at: time.Now(), heartbeats: map[string]bool{}, guards: map[string]bool{}}
	for _, x := range f.pieces {
		e.pieces = append(e.pieces, *x)
	}
	for _, k := range f.keyPairs {
		e.keyPairs = append(e.keyPairs, *k)
	}
	for _, m := range f.machines {
		_, exempt := m.tags[exemptTag]
		e.guards[m.id] = exempt || m.protected || m.tags[registryTag] != registryUUID
		e.heartbeats[m.id] = m.sidecar != nil && m.sidecar.alive()
	}
	return e
}

// by is how somebody signs what they do.
func (p *process) by(reason string) lease.By { return lease.By{Actor: "cli:" + p.name, Reason: reason} }
