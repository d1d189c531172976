//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"

	"lapse/lease"
	"lapse/lease/etcd"
)

// linear is a few leases in a namespace of their own, which no janitor process sees, and goroutines that do everything to
// them at once that the store can do, over links of their own. What was called and answered is checked in the end.
type linear struct {
	w      *world
	stores func(client int) *etcd.Store // of the present epoch
	began  time.Time

	still sync.RWMutex // held for writing while etcd is restored

	mu    sync.Mutex
	epoch int
	now   *generation
	ops   []porcupine.Operation
}

// generation is one lease: bound, changed, revoked; then comes the next.
type generation struct {
	id     string
	launch lease.Launch
	epoch  int

	mu       sync.Mutex
	done     int // operations
	unknowns int
	revoked  bool
	since    time.Time
}

// clients is how many clients of etcd the goroutines share.
const clients = 3

func newLinear(w *world) *linear {
	l := &linear{w: w, began: time.Now(), epoch: 1}
	all := make([]etcd.Client, clients)
	for n := range clients {
		var endpoints []string
		for _, link := range w.links["linear"] {
			endpoints = append(endpoints, link.address())
		}
		within(w.t, "a client of etcd", func() bool {
			client, err := etcd.Dial(w.t.Context(), etcd.Config{Endpoints: endpoints})
			if err == nil {
				w.t.Cleanup(func() { _ = client.Close() })
				all[n] = client
			}
			return err == nil
		})
	}
	l.stores = func(client int) *etcd.Store {
		l.mu.Lock()
		defer l.mu.Unlock()
		return etcd.New(all[client%clients], fmt.Sprintf("linear-%d", l.epoch), etcd.Options{CallTimeout: 2 * time.Second})
	}
	return l
}

// hush waits until nobody calls anything. What follows is another epoch, in another namespace: a restore is no operation
// of a register.
func (l *linear) hush() (resume func()) {
	l.still.Lock()
	l.mu.Lock()
	l.epoch++
	l.now = nil
	l.mu.Unlock()
	return l.still.Unlock
}

func (l *linear) run(ctx context.Context) {
	var all sync.WaitGroup
	for n, do := range []func(context.Context, int, *rand.Rand){
		l.people, l.people, l.people, l.launcher, l.launcher, l.sidecar, l.sidecar, l.janitor, l.janitor,
	} {
		all.Go(func() { do(ctx, n, l.w.stream(uint64(500+n))) })
	}
	for ctx.Err() == nil {
		l.turn(ctx)
		pause(ctx, 100*time.Millisecond)
	}
	all.Wait()
}

// turn begins the next generation when this one has served.
func (l *linear) turn(ctx context.Context) {
	l.still.RLock()
	defer l.still.RUnlock()
	l.mu.Lock()
	g, epoch := l.now, l.epoch
	l.mu.Unlock()
	if g != nil && !g.over() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	store, now, token := l.stores(0), time.Now(), uuid.NewString()
	if _, err := store.Registry(ctx); err != nil {
		_, _ = store.PutRegistry(ctx, lease.NewRegistry(now, uuid.NewString(), lease.ModeArmed)) // or it is there by the next turn
	}
	launch, err := store.PutLaunch(ctx, lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Account: "123456789012", Region: region, Count: 1,
		Window: lease.Duration(time.Hour), Request: json.RawMessage(`{}`), CreatedAt: now.UTC(),
		Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: 1, Max: 1, Sends: 1, LastSend: now.UTC()}},
	})
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = &generation{id: "i-" + token, launch: launch, epoch: epoch, since: now}
}

// over reports whether enough was done to the lease. Operations whose outcome is not known make it hard to check.
func (g *generation) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done > 150 || g.unknowns > 8 || time.Since(g.since) > 10*time.Second || g.revoked && time.Since(g.since) > time.Second
}

// do calls something for the present generation, and records it. The call returns nothing if it tells nothing.
func (l *linear) do(ctx context.Context, client int, call func(context.Context, *etcd.Store, *generation, *input) (output, bool)) {
	l.still.RLock()
	defer l.still.RUnlock()
	l.mu.Lock()
	g := l.now
	l.mu.Unlock()
	if g == nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	in := input{key: g.id, tag: uuid.NewString(), called: time.Now()}
	out, tells := call(ctx, l.stores(client), g, &in)
	out.returned = time.Now()
	if !tells {
		return
	}
	l.mu.Lock()
	l.ops = append(l.ops, recorded(client, in, out, l.began))
	l.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done++
	if out.answer == unknown {
		g.unknowns++
	}
	if in.revoke && (out.answer == done || out.answer == unknown) && !g.revoked {
		g.revoked, g.since = true, time.Now()
	}
}

// kept is what the model knows of a record.
func kept(r lease.Lease) record {
	if r.InstanceID == "" {
		return record{}
	}
	tag := ""
	if n := len(r.History); n > 0 {
		tag = r.History[n-1].Reason
	}
	return record{true, r.Live(), r.Mark != nil, tag, r.Changes, r.ExpiresAt.UnixMilli()}
}

// answerOf sorts the errors of the store. A write that was sent and came to any other error may have been done.
func answerOf(err error, sent bool) (answer, bool) {
	var changed *lease.ConflictError
	switch {
	case err == nil:
		return done, true
	case is[*lease.StateError](err), is[*lease.LaunchStateError](err):
		return refused, true
	case errors.As(err, &changed) && changed.Kind == "heartbeat":
		return heartbeats, true
	case changed != nil:
		return conflict, true
	case is[*lease.NotFoundError](err):
		return missing, true
	case is[*lease.DeposedError](err), is[*lease.ClaimLostError](err):
		return powerless, true
	}
	return unknown, sent
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// check lets porcupine look for an order of everything that explains every answer.
func (l *linear) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	unknowns := 0
	for _, op := range l.ops {
		in, out := op.Input.(input), op.Output.(output)
		l.w.tally.add(fmt.Sprintf("linearizable operations: %s %s", in.kind, out.answer), 1)
		if out.answer == unknown {
			unknowns++
		}
	}
	l.w.tally.add("linearizable operations", len(l.ops))
	keys := byKey(l.ops)
	l.w.tally.add("linearizable leases", len(keys))
	began, undecided := time.Now(), 0
	for _, ops := range keys {
		if porcupine.CheckOperationsTimeout(model(), seen(ops), time.Minute) == porcupine.Ok {
			continue // and what was not seen may never have happened
		}
		switch result, info := porcupine.CheckOperationsVerbose(model(), ops, time.Minute); result {
		case porcupine.Unknown:
			undecided++
		case porcupine.Illegal:
			l.w.wrong("the history of lease %s is not linearizable", ops[0].Input.(input).key)
			if err := porcupine.VisualizePath(model(), info, l.w.dir+"/linear.html"); err == nil {
				l.w.t.Logf("see %s/linear.html", l.w.dir)
			}
		case porcupine.Ok:
		}
	}
	if undecided*10 > len(keys) {
		l.w.t.Errorf("void: %d of %d histories took too long to be checked", undecided, len(keys))
	}
	l.w.t.Logf("%d operations on %d leases, %d of them of unknown outcome: checked in %s, %d leases undecided",
		len(l.ops), len(keys), unknowns, time.Since(began).Round(time.Millisecond), undecided)
}

// seen leaves out the operations of unknown outcome whose effect no other operation shows. There are many, and each may
// come anywhere, or nowhere.
func seen(ops []porcupine.Operation) []porcupine.Operation {
	shown := map[string]bool{}
	for _, op := range ops {
		in, out := op.Input.(input), op.Output.(output)
		shown[in.expect], shown[out.before.tag], shown[out.after.tag] = true, true, true
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		in, out := op.Input.(input), op.Output.(output)
		return out.answer == unknown && in.kind != opClose && !shown[in.tag]
	})
}
