package sim

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"lapse/lease"
	"lapse/lease/api"
	"lapse/lease/api/identity"
	"lapse/lease/self"
	"lapse/sidecar"
)

// apiURL is where instances reach the API. There are no sockets: see [line].
const apiURL = "https://api.invalid"

// callShape is who calls the API in a schedule, and what goes wrong there.
type callShape struct {
	share  float64 // of the instances; the others renew directly
	faults int
}

// drawCalls lets nobody call the API in half of the schedules.
func drawCalls(r *rand.Rand) callShape {
	if oneIn(r, 2) {
		return callShape{}
	}
	return callShape{share: pick(r, 0.5, 0.8, 1), faults: 4 + r.IntN(9)}
}

// front is the API: replicas that know nothing of each other, and no balancer but chance.
type front struct {
	w        *world
	replicas []*replica
	known    identity.Certificates

	mu   sync.Mutex
	away time.Time // until then nothing reaches any
}

// openAPI starts the API, and lets happen what concerns those who call it. Its dice are its own, so that a schedule in which nobody
// does is the same with it and without it.
func (w *world) openAPI() {
	if w.shape.calls.share == 0 {
		return
	}
	w.front = &front{w: w, known: signing().known()}
	for _, name := range []string{"api-a", "api-b"} {
		w.front.replicas = append(w.front.replicas, w.newReplica(name))
	}
	r, all := w.dice.stream("director of the API"), w.shape.busy()
	for range w.shape.calls.faults {
		f := weighted(r, apiFaults(), func(f fault) int { return f.weight })
		w.at(between(r, 2*time.Minute, all), func(r *rand.Rand) {
			if lasts, struck_ := f.strike(w, r); struck_ {
				w.trace.add(event{kind: struck, id: f.name, until: time.Now().Add(lasts)})
			}
		})
	}
}

// url is that of the API, for the registry.
func (w *world) url() string {
	if w.shape.calls.share == 0 {
		return ""
	}
	return apiURL
}

// replica is a machine on which the API is started again whenever it ends. It keeps its clock alone.
type replica struct {
	name  string
	clock *clock

	mu      sync.Mutex
	process *process
	handler http.Handler // nil while it does not serve
	blind   time.Time    // started before then, it knows no certificate of the Region
}

func (w *world) newReplica(name string) *replica {
	h := &replica{name: name, clock: newClock()}
	r := w.dice.stream(name)
	w.processes.Go(func() {
		wait(w.ctx, between(r, 0, 20*time.Second))
		for n := 1; w.ctx.Err() == nil; n++ {
			h.mu.Lock()
			h.process = w.start(fmt.Sprintf("%s.%d", name, n), "api", h.clock, h.serve)
			p := h.process
			h.mu.Unlock()
			<-p.done
			wait(w.ctx, between(r, time.Second, 20*time.Second))
		}
	})
	return h
}

// serve is what cmd/janitor wires: the API begins with nothing in its memory.
func (h *replica) serve(p *process) {
	cloud, err := p.cloud()
	if err != nil {
		p.w.log.Error("no API", "name", p.name, "error", err)
		return
	}
	known := p.w.front.known
	h.mu.Lock()
	if time.Now().Before(h.blind) {
		known = nil
	}
	h.mu.Unlock()
	server := api.New(api.Config{
		Store: p.store(), Clouds: []api.Cloud{cloud}, Certificates: known, Now: p.clock.now, Logger: p.w.log.With("who", p.name),
	})
	h.opens(p, server.Handler())
	<-p.ctx.Done()
	h.opens(p, nil)
}

func (h *replica) opens(p *process, handler http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process == p {
		h.handler = handler
	}
}

// serving is the replica's process and handler, if it serves.
func (h *replica) serving() (*process, http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process == nil || h.handler == nil || !h.process.alive() {
		return nil, nil
	}
	return h.process, h.handler
}

func (f *front) isAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.away)
}

// restart kills all replicas. Those that begin until then know no certificate of the Region.
func (f *front) restart(blind time.Time) {
	for _, h := range f.replicas {
		h.mu.Lock()
		h.blind = blind
		p := h.process
		h.mu.Unlock()
		if p != nil {
			p.kill()
		}
	}
}

func (f *front) calm() {
	if f == nil {
		return
	}
	f.mu.Lock()
	f.away = time.Time{}
	f.mu.Unlock()
	for _, h := range f.replicas {
		h.clock.set(0, 0)
		h.mu.Lock()
		blind := time.Now().Before(h.blind)
		h.blind = time.Time{}
		p := h.process
		h.mu.Unlock()
		switch {
		case p == nil:
		case blind:
			p.kill()
		default:
			p.heal()
		}
	}
	f.w.mu.Lock()
	thieves := f.w.thieves
	f.w.mu.Unlock()
	for _, p := range thieves {
		p.kill()
	}
}

// caller is what a machine has for the API.
type caller struct {
	userData string // that it was launched with
	invited  string // token that an operator has given it
	keys     int    // how many it has made
	document signed
}

// key names the present key of a machine: it is in /run, and not kept when the machine starts again.
func (m *machine) key() string { return fmt.Sprintf("key-%s.%d", m.id, m.caller.keys) }

// address is where the machine calls from.
func (m *machine) address() string {
	var serial int
	_, _ = fmt.Sscanf(m.id, "i-%x", &serial)
	return fmt.Sprintf("10.0.%d.%d", serial>>8&0xff, serial&0xff)
}

// forget takes away what is in /run. mu of the fleet is held.
func (m *machine) forget() { m.caller.keys, m.caller.invited = m.caller.keys+1, "" }

// callsAPI reports whether the machine's sidecar renews through the API.
func (w *world) callsAPI(m *machine) bool {
	r := w.dice.of("way of "+m.id, 0)
	return w.front != nil && r.chance(w.shape.calls.share)
}

// wayOf is a sidecar's way to the registry. mu of the fleet is held.
func (w *world) wayOf(m *machine) func(*process) (sidecar.Registry, error) {
	if !w.callsAPI(m) {
		return func(p *process) (sidecar.Registry, error) { return self.New(p.store(), p.clock.now, w.log), nil }
	}
	key := m.key()
	return func(p *process) (sidecar.Registry, error) { return w.client(p, m, m.id, key, m.address()) }
}

// client calls the API from a machine, about an instance. What it proves itself by is the machine's.
func (w *world) client(p *process, m *machine, about, key, from string) (*api.Client, error) {
	return api.NewClient(api.ClientConfig{
		URL: apiURL, InstanceID: about, Logger: slog.New(slog.DiscardHandler), Transport: &line{p: p, of: m.id, key: newKey(key), from: from},
		KeyFile: filepath.Join(w.dir, "key.pem"), // TLS alone needs it: here the line says whose key it is
		Prove: func(context.Context) (document, token string, err error) {
			w.fleet.mu.Lock()
			defer w.fleet.mu.Unlock()
			join, _ := lease.JoinFrom(m.plainUserData())
			document, err = m.signedDocument()
			return document, cmp.Or(join.Token, m.caller.invited), err
		},
	})
}
