package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	region  = "us-east-1"
	account = "123456789012"
	// otherAccount is empty.
	otherAccount = "999999999999"
	namespace    = "default"
)

// zones are the names of the zones, whose ids end in the same letter.
var zones = []string{region + "a", region + "b"}

func zoneID(zone string) string { return "use1-az" + zone[len(zone)-1:] }

// fleet is EC2 in memory: one account in one region. What it shows may be old, too little, or an error.
type fleet struct {
	w *world

	mu         sync.Mutex
	random     *rand.Rand // of how long states take; asked with mu held, in the order of launches
	serial     int
	machines   []*machine
	byID       map[string]*machine
	launches   map[string]*reservation // by client token
	pieces     []*piece                // volumes, interfaces and spot requests
	keyPairs   []*keyPair
	capacity   map[string]int // by zone; absent: no end
	pageSize   int
	staleUntil time.Time // until then listings are old
	stale      time.Duration
	shortUntil time.Time // until then listings show only a part, and say nothing of it
	short      float64
	blindUntil time.Time // until then look-ups by id show only that part, too
	// Until then launches are denied, and what was launched before is said to have been asked for otherwise.
	deniedUntil, mismatchUntil time.Time
	refusing                   map[string]time.Time // error codes, and until when calls are refused with them
	away                       map[string]time.Time // zones out of reach until
	tagging                    tagTrouble
}

// machine is one instance.
type machine struct {
	id, zone, token, reservation, spot string
	keyName                            string
	role                               string // launched, or what else it is here for
	state                              types.InstanceStateName
	launched                           time.Time
	tags                               map[string]string
	protected                          bool
	has                                []*piece // what was made beside it
	past                               []was

	boots   bool // a sidecar starts when it runs
	starts  int
	sidecar *process
	caller  caller // of the API
}

// was is what a machine was until a change; nil if it was not there.
type was struct {
	until time.Time
	m     *machine
}

type reservation struct {
	id       string
	request  string
	machines []*machine
}

func newFleet(w *world) *fleet {
	return &fleet{
		w: w, random: w.dice.stream("fleet"), byID: map[string]*machine{}, launches: map[string]*reservation{}, capacity: map[string]int{},
		refusing: map[string]time.Time{}, away: map[string]time.Time{}, pageSize: 1000,
	}
}

// newID is asked for with mu held.
func (f *fleet) newID(prefix string) string {
	f.serial++
	return fmt.Sprintf("%s-%017x", prefix, 0xa0000+f.serial)
}

// add makes a machine, which is pending. mu is held.
func (f *fleet) add(m *machine) {
	m.id, m.state, m.launched = f.newID("i"), types.InstanceStateNamePending, time.Now().Truncate(time.Second)
	m.past = []was{{until: time.Now()}}
	f.machines, f.byID[m.id] = append(f.machines, m), m
	f.w.trace.add(event{kind: created, who: m.role, id: m.id, text: m.token + " in " + m.zone, tags: maps.Clone(m.tags)})
	f.enter(m, types.InstanceStateNamePending)
}

// enter moves a machine into a state, and lets it move on from there. mu is held.
func (f *fleet) enter(m *machine, state types.InstanceStateName) {
	f.remember(m)
	m.state = state
	f.w.trace.add(event{kind: entered, id: m.id, text: string(state)})
	next := func(d time.Duration, to types.InstanceStateName) {
		time.AfterFunc(d, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if m.state == state {
				f.enter(m, to)
			}
		})
	}
	switch state {
	case types.InstanceStateNamePending:
		next(between(f.random, 5*time.Second, 40*time.Second), types.InstanceStateNameRunning)
	case types.InstanceStateNameStopping:
		f.powerOff(m)
		next(between(f.random, 5*time.Second, time.Minute), types.InstanceStateNameStopped)
	case types.InstanceStateNameShuttingDown:
		f.powerOff(m)
		next(between(f.random, 5*time.Second, 90*time.Second), types.InstanceStateNameTerminated)
	case types.InstanceStateNameTerminated:
		f.release(m)
	case types.InstanceStateNameRunning:
		if m.boots {
			m.starts++
			m.forget()
			boot, name := between(f.random, 2*time.Second, 50*time.Second), fmt.Sprintf("sidecar-%s.%d", m.id[len(m.id)-3:], m.starts)
			time.AfterFunc(boot, func() { f.boot(m, name, m.starts) })
		}
	}
}

// boot starts the sidecar of a machine, unless the machine was stopped before.
func (f *fleet) boot(m *machine, name string, start int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.state == types.InstanceStateNameRunning && m.starts == start && m.sidecar == nil && f.w.ctx.Err() == nil {
		m.sidecar = f.w.startSidecar(m, name)
	}
}

// revive starts the sidecar of a machine whose last one died, if it runs and the schedule is not calm yet.
func (f *fleet) revive(id string) {
	f.mu.Lock()
	m := f.byID[id]
	dead := m != nil && m.sidecar != nil && !m.sidecar.alive() && !f.w.isCalm()
	if dead {
		m.sidecar = nil
		m.starts++
	}
	f.mu.Unlock()
	if dead {
		f.boot(m, fmt.Sprintf("sidecar-%s.%d", id[len(id)-3:], m.starts), m.starts)
	}
}

func (f *fleet) powerOff(m *machine) {
	if m.sidecar != nil {
		m.sidecar.kill()
		m.sidecar = nil
	}
}

func (f *fleet) remember(m *machine) {
	copied := *m
	copied.tags, copied.past = maps.Clone(m.tags), nil
	m.past = append(m.past, was{time.Now(), &copied})
	m.past = m.past[max(0, len(m.past)-6):]
}

// tag changes a machine's tags. mu is held.
func (f *fleet) tag(m *machine, change func(map[string]string)) {
	f.remember(m)
	m.tags = maps.Clone(m.tags)
	if m.tags == nil {
		m.tags = map[string]string{}
	}
	change(m.tags)
	f.w.trace.add(event{kind: tagged, id: m.id, tags: maps.Clone(m.tags)})
}

// shown is a machine as it is, or as it was so long ago; nil if it was not there.
func (m *machine) shown(stale time.Duration) *machine {
	then := time.Now().Add(-stale)
	for _, p := range m.past {
		if then.Before(p.until) {
			return p.m
		}
	}
	return m
}

func (m *machine) ending() bool {
	return m.state == types.InstanceStateNameShuttingDown || m.state == types.InstanceStateNameTerminated
}

// change looks for a machine that a person or chance has in mind, and does something to it.
func (f *fleet) change(r *rand.Rand, fits func(*machine) bool, do func(*machine)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var able []*machine
	for _, m := range f.machines {
		if fits(m) {
			able = append(able, m)
		}
	}
	if len(able) == 0 {
		return false
	}
	do(able[r.IntN(len(able))])
	return true
}

// running fits what runs and was launched through Lapse.
func running(m *machine) bool {
	return m.state == types.InstanceStateNameRunning && m.role == launchedRole
}

// end terminates from within EC2: a spot interruption, or somebody in a console.
func (f *fleet) end(m *machine) { f.enter(m, types.InstanceStateNameShuttingDown) }

// heal takes all faults of EC2 back.
func (f *fleet) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.staleUntil, f.shortUntil, f.blindUntil, f.pageSize = time.Time{}, time.Time{}, time.Time{}, 1000
	f.deniedUntil, f.mismatchUntil, f.tagging = time.Time{}, time.Time{}, tagTrouble{}
	clear(f.refusing)
	clear(f.away)
	clear(f.capacity)
	for _, m := range f.machines {
		m.protected = false
		if _, exempt := m.tags[exemptTag]; exempt && m.role == launchedRole {
			f.tag(m, func(tags map[string]string) { delete(tags, exemptTag) })
		}
	}
}
