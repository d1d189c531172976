package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"lapse/janitor"
	"lapse/lease"
	"lapse/lease/ec2/launch"
	"lapse/lease/etcd"
	"lapse/sidecar"
)

// host is a machine on which a janitor is started again whenever it ends. It keeps its clock and its memory.
type host struct {
	w     *world
	name  string
	clock *clock

	mu      sync.Mutex
	process *process
	forgets bool              // the next janitor finds no memory
	rests   time.Time         // until then none is started
	dir     string            // of its memory
	back    map[string][]byte // what the next janitor finds there instead; nil: what is there
}

func (w *world) newHost(name string) *host {
	h := &host{w: w, name: name, clock: newClock(), dir: filepath.Join(w.dir, name)}
	r := w.dice.stream(name)
	if oneIn(r, 12) { // wrong from the start
		h.clock.set(pick[time.Duration](r, -1, 1)*between(r, time.Minute, 400*24*time.Hour), 0)
	}
	w.processes.Go(func() {
		wait(w.ctx, between(r, 0, 20*time.Second))
		for n := 1; w.ctx.Err() == nil; n++ {
			h.awake()
			h.mu.Lock()
			dir := h.dir
			switch {
			case h.back != nil:
				dir = filepath.Join(w.dir, fmt.Sprintf("%s-%d", name, n))
				if err := settleIn(dir, h.back); err != nil {
					panic(err)
				}
				h.dir = dir
			case h.forgets:
				dir = filepath.Join(w.dir, fmt.Sprintf("%s-%d", name, n))
			}
			h.back, h.forgets = nil, false
			h.process = w.start(fmt.Sprintf("%s.%d", name, n), "janitor", h.clock, func(p *process) { runJanitor(p, dir) })
			p := h.process
			h.mu.Unlock()
			<-p.done
			wait(w.ctx, between(r, 2*time.Second, 50*time.Second))
		}
	})
	return h
}

// running is the janitor that runs there, if one does.
func (h *host) running() *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.process == nil || !h.process.alive() {
		return nil
	}
	return h.process
}

func (h *host) calm() {
	h.clock.set(0, 0)
	if p := h.running(); p != nil {
		p.heal()
	}
}

// runJanitor is what cmd/janitor wires.
func runJanitor(p *process, dir string) {
	cloud, err := p.cloud()
	if err != nil {
		p.w.log.Error("no janitor", "name", p.name, "error", err)
		return
	}
	store := p.store()
	j, err := janitor.New(janitor.Config{
		Campaign: func(ctx context.Context) (janitor.Leadership, error) {
			return store.Campaign(ctx, p.name, 15*time.Second)
		},
		Healthy: store.Healthy, LastCheckpoint: lastCheckpoint(store), StateDir: dir, Clouds: []janitor.Cloud{cloud},
		Policy: p.w.shape.policy, Schedule: "@every 1m", Now: p.clock.now, Log: p.w.log.With("who", p.name),
	})
	if err == nil {
		err = j.Run(p.ctx)
	}
	if err != nil {
		p.w.log.Error("janitor ended", "name", p.name, "error", err)
	}
}

func lastCheckpoint(store *etcd.Store) func(context.Context) (lease.Registry, lease.Checkpoint, error) {
	return func(ctx context.Context) (lease.Registry, lease.Checkpoint, error) {
		registry, err := store.Registry(ctx)
		if err != nil {
			return registry, lease.Checkpoint{}, err
		}
		checkpoint, err := store.Checkpoint(ctx)
		var none *lease.NotFoundError
		if errors.As(err, &none) {
			err = nil
		}
		return registry, checkpoint, err
	}
}

// startSidecar starts the sidecar of a machine that has booted.
func (w *world) startSidecar(m *machine, name string) *process {
	id, wayOf := m.id, w.wayOf(m)
	return w.start(name, "sidecar", w.someClock(name), func(p *process) {
		n := 0
		s, err := sidecar.New(sidecar.Config{
			InstanceID: id, BootID: name, Logger: w.log.With("who", name), Now: p.clock.now,
			Open: func(context.Context) (sidecar.Registry, error) { return wayOf(p) },
			Random: func(below time.Duration) time.Duration {
				n++
				r := w.dice.of(name+" waits", n)
				return r.between(0, below)
			},
		})
		if err == nil {
			err = s.Run(p.ctx)
		}
		w.log.Info("sidecar ended", "name", name, "error", err)
	})
}

// request is what somebody asks to be launched, however often.
type request struct {
	launch.Request
	tries int
}

// maxTimeout is the longest that is requested.
const maxTimeout = 3 * time.Minute

// outliving is a request for a volume and an interface that outlive their instance.
const outliving = `{"BlockDeviceMappings":[{"DeviceName":"/dev/sdb","Ebs":{"VolumeSize":1,"DeleteOnTermination":false}}],
	"NetworkInterfaces":[{"DeviceIndex":0,"DeleteOnTermination":false}]}`

// drawRequest draws a launch.
func drawRequest(r *rand.Rand, token string) request {
	q := request{Request: launch.Request{
		Token: token, Count: pick(r, 1, 1, 2, 3, 4, 6), ImageID: "ami-0123456789abcdef0", InstanceTypes: []string{"t3.micro"},
		Term: pick(r, 0, 8*time.Minute, 15*time.Minute, 30*time.Minute, 2*time.Hour, 2*time.Hour), Holder: "ada",
		HeartbeatTimeout: pick(r, 0, time.Minute, time.Minute, 2*time.Minute, maxTimeout), Patience: pick(r, time.Minute, 3*time.Minute), Unattended: oneIn(r, 4),
	}}
	if q.Term > 0 && oneIn(r, 2) {
		q.MaxTerm = q.Term + time.Hour
	}
	if oneIn(r, 2) {
		q.Subnets = []string{"subnet-" + zones[r.IntN(2)], "subnet-" + zones[0]}
		q.Subnets = q.Subnets[:1+r.IntN(2)]
	}
	if oneIn(r, 3) {
		q.Skeleton = []byte(outliving)
	} else if oneIn(r, 4) {
		q.Skeleton = []byte(`{"InstanceMarketOptions":{"MarketType":"spot"}}`)
	}
	return q
}

// launch runs a launcher for a token, for the first time or again.
func (w *world) launch(token string) *process {
	w.mu.Lock()
	q := w.tokens[token]
	q.tries++
	w.tokens[token] = q
	w.mu.Unlock()
	if w.shape.quirks.ignoresTokens {
		q.Anima, q.Consistency = lease.AnimaKeyPair, consistency
	}
	name := fmt.Sprintf("%s.try%d", token, q.tries)
	started := w.start(name, "launcher", w.someClock(name), func(p *process) {
		cloud, err := p.cloud()
		if err != nil {
			return
		}
		l := launch.New(cloud, p.store(), launch.Config{Actor: "cli:" + p.name, Now: p.clock.now, Window: w.shape.policy.LaunchWindow, NewKey: newKeys(p.name), Random: newRandom(p.name)})
		result, err := l.Launch(p.ctx, q.Request)
		w.log.Info("launched", "token", token, "leases", len(result.Leases), "error", err)
		if !p.alive() {
			return // nobody has read the answer
		}
		var no *launch.RefusedError
		if errors.As(err, &no) {
			w.trace.add(event{kind: denied, who: p.name, id: token})
		}
		for _, held := range result.Leases {
			if held.State == lease.StateActive {
				p.promise(held)
			}
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.launches = append(w.launches, started)
	return started
}

// promise notes that somebody was told until when a lease holds.
func (p *process) promise(l lease.Lease) {
	until := l.ExpiresAt
	if until.IsZero() {
		until = never()
	}
	p.w.trace.add(event{kind: promised, who: p.name, id: l.InstanceID, when: until})
}
