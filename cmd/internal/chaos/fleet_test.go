//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lapse/cmd/internal/wallclock"
	"lapse/lease/ec2/ec2sim"
)

// fleet is the instances that launches made, each with a metadata service and, unless it never gets one, a sidecar.
type fleet struct {
	w *world

	mu       sync.Mutex
	machines map[string]*machine
}

// machine is one instance.
type machine struct {
	id, zone, token string
	quiet           bool     // never gets a sidecar
	pieces          []string // volumes and interfaces that were made with it
	metadata        *httptest.Server
	socket          string
	wall            wallclock.Clock

	operated sync.Mutex // by one operator at a time, so that the order of what was acknowledged is known

	mu      sync.Mutex
	sidecar *process // nil: none just now
	well    func()   // ends the trouble of having none
	dead    bool     // gets no sidecar any more
	down    bool     // a fault keeps it from one
	next    time.Time
	gone    bool // terminated
}

// run boots the instances that EC2 shows, restarts sidecars as a service manager does, and switches off terminated
// instances.
func (f *fleet) run(ctx context.Context) {
	for ctx.Err() == nil {
		for _, i := range f.w.sim.Instances() {
			if strings.HasPrefix(i.ClientToken, "chaos-") && f.w.nobody.instances[i.ID] == "" {
				f.tend(i)
			}
		}
		pause(ctx, 150*time.Millisecond)
	}
	for _, m := range f.all() {
		m.halt()
	}
}

func (f *fleet) tend(i ec2sim.Instance) {
	f.mu.Lock()
	m := f.machines[i.ID]
	if m == nil {
		m = f.boot(i)
		f.machines[i.ID] = m
	}
	f.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case i.State == ec2sim.Terminated:
		if !m.gone && m.sidecar != nil {
			m.sidecar.kill()
		}
		if !m.gone {
			m.gone = true
			m.metadata.Close()
		}
	case i.State != ec2sim.Running || m.quiet || m.dead || m.down:
	case m.sidecar != nil && m.sidecar.alive():
	case m.sidecar != nil: // it gave up, or was killed
		m.sidecar, m.next = nil, time.Now().Add(time.Second)
		m.unwell(f.w, "its sidecar ended")
	case !time.Now().Before(m.next):
		f.begin(m)
	}
}

// boot prepares an instance that was never seen before.
func (f *fleet) boot(i ec2sim.Instance) *machine {
	token, _, _ := strings.Cut(i.ClientToken, ".")
	metadata := f.w.sim.IMDS(i.ID)
	if len(f.machines)%5 == 4 {
		metadata.Script(ec2sim.Nothing, ec2sim.Unavailable, ec2sim.Truth)
	}
	m := &machine{
		id: i.ID, zone: i.Zone, token: token, quiet: f.w.crowd.quiet(token), metadata: httptest.NewServer(metadata),
		socket: filepath.Join(f.w.dir, i.ID[len(i.ID)-8:]+".sock"), pieces: slices.Concat(i.Volumes, i.Interfaces),
		wall: f.w.clock(i.ID),
	}
	m.well = f.w.diary.trouble(i.ID, "it had no sidecar yet")
	f.w.tally.add("instances", 1)
	return m
}

// begin starts the sidecar. m is locked.
func (f *fleet) begin(m *machine) {
	c := f.w.command("zone-"+m.zone[len(m.zone)-1:], "sidecar-direct", "run", "--imds", m.metadata.URL, "--socket", m.socket)
	c.Env = append(c.Env, m.wall.Env())
	p, err := start(c, filepath.Join(f.w.dir, m.id+".log"))
	if err != nil {
		m.next = time.Now().Add(time.Second)
		return
	}
	m.sidecar = p
	m.well()
	f.w.tally.add("sidecars started", 1)
}

// unwell notes that the instance has no working sidecar. m is locked.
func (m *machine) unwell(w *world, what string) { m.well = w.diary.trouble(m.id, what) }

// halt ends the sidecar for good.
func (m *machine) halt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sidecar != nil && m.sidecar.alive() {
		m.sidecar.kill()
	}
	if !m.gone {
		m.gone = true
		m.metadata.Close()
	}
}

// kill kills the sidecar; it is not restarted before heal is called, or never if it is to stay dead.
func (f *fleet) kill(m *machine, forGood bool) (heal func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down, m.dead = true, m.dead || forGood
	m.unwell(f.w, "its sidecar was killed")
	if m.sidecar != nil {
		m.sidecar.kill()
		m.sidecar = nil
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.down = false
	}
}

// stop suspends the sidecar until heal is called.
func (f *fleet) stop(m *machine) (heal func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.sidecar
	if p == nil {
		return func() {}
	}
	end := f.w.diary.trouble(m.id, "its sidecar was stopped")
	p.stop()
	return func() {
		p.resume()
		end()
	}
}

func (f *fleet) all() []*machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*machine
	for _, m := range f.machines {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *machine) int { return strings.Compare(a.id, b.id) })
	return all
}

// renewing are the instances whose sidecar runs.
func (f *fleet) renewing() []*machine {
	return slices.DeleteFunc(f.all(), func(m *machine) bool { return !m.heartbeats() })
}

func (m *machine) heartbeats() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.gone && !m.dead && !m.down && m.sidecar != nil && m.sidecar.alive()
}

// living are the instances that EC2 has not terminated.
func (f *fleet) living() []*machine {
	return slices.DeleteFunc(f.all(), func(m *machine) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.gone
	})
}

// choose takes one at random; nil if there is none.
func choose[T any](r *rand.Rand, all []T) (one T, ok bool) {
	if len(all) == 0 {
		return one, false
	}
	return all[r.IntN(len(all))], true
}

// bystanders are what is not ours to end or remove: another registry's, copies of tags, exempt, untagged.
type bystanders struct {
	instances map[string]string // id → what it is
	volumes   map[string]string
}

func (w *world) addBystanders() {
	ours := func(more ...string) map[string]string {
		tags := map[string]string{"lapse:registry": w.uuid}
		for n := 0; n < len(more); n += 2 {
			tags[more[n]] = more[n+1]
		}
		return tags
	}
	foreign := map[string]string{"lapse:registry": "00000000-0000-4000-8000-000000000000", "lapse:launch": "chaos-0.1"}
	b := &bystanders{instances: map[string]string{}, volumes: map[string]string{}}
	for n, zone := range []string{"a", "b", "c"} {
		for what, i := range map[string]ec2sim.Instance{
			"foreign": {ClientToken: "chaos-0.1", Tags: foreign}, "untagged": {}, "of no launch": {Tags: ours()},
			"copied":          {ClientToken: fmt.Sprintf("console-%d", n), Tags: ours("lapse:launch", "chaos-0.1")},
			"copied, doomed":  {ClientToken: fmt.Sprintf("other-%d", n), Tags: ours("lapse:launch", "chaos-doomed-0.1")},
			"lost":            {ClientToken: fmt.Sprintf("lost-%d.1", n), Tags: ours("lapse:launch", fmt.Sprintf("lost-%d.1", n)), LaunchTime: time.Now().Add(-time.Hour)},
			"exempt":          {ClientToken: "chaos-doomed-0.1", Tags: ours("lapse:launch", "chaos-doomed-0.1", "lapse:exempt", "")},
			"without a token": {Tags: ours("lapse:launch", "chaos-0.1")},
		} {
			i.Zone = region + zone
			b.instances[w.sim.Create(i).ID] = what
		}
		before := time.Now().Add(-24 * time.Hour)
		for what, v := range map[string]ec2sim.Volume{
			"untagged": {}, "foreign": {Tags: foreign}, "older than its tag": {Tags: ours("lapse:launch", "chaos-doomed-0.1"), Created: before},
		} {
			v.Zone = region + zone
			b.volumes[w.sim.AddVolume(v).ID] = what
		}
	}
	w.nobody = b
}
