package sidecar

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
	"lapse/lease/self"
)

const instance = "i-0123456789abcdef0"

// call is one use of the fake registry.
type call struct {
	verb             string
	at               time.Time
	heartbeatTimeout time.Duration
	changes          int64
}

// registry is a fake of one instance's records. Its heartbeat expires by the clock, as etcd's does.
type registry struct {
	mu         sync.Mutex
	calls      []call
	lease      lease.Lease // zero: not bound
	handle     int64       // of the present heartbeat; 0: none
	lapses     time.Time
	other      string            // boot id of somebody else who holds the heartbeat
	fail       map[string]error  // by verb; "*" for all
	onUpdate   func(*registry)   // what happens just before an update
	hang       bool              // until ctx ends
	lost       int               // renewals still to be told that the claim is lost
	heartbeats []lease.Heartbeat // as renewed
	checkpoint lease.Checkpoint  // of the last sweep; zero: there was none
	asked      int               // readings of it
	bare       bool              // renew answers with a lease that is over rather than with a StateError
}

func (r *registry) enter(ctx context.Context, verb string, h lease.Heartbeat) error {
	r.mu.Lock()
	r.calls = append(r.calls, call{verb, time.Now(), time.Duration(h.HeartbeatTimeout), h.Changes})
	hang, err := r.hang, r.fail["*"]
	if e := r.fail[verb]; e != nil {
		err = e
	}
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (r *registry) over(verb string) error {
	return r.lease.Renewable(verb)
}

func (r *registry) Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error) {
	if err := r.enter(ctx, "claim", h); err != nil {
		return lease.Claim{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.over("claim"); err != nil {
		return lease.Claim{}, err
	}
	r.handle++
	r.other, r.lapses = "", time.Now().Add(time.Duration(h.HeartbeatTimeout))
	return lease.Claim{Heartbeat: h, Handle: r.handle}, nil
}

func (r *registry) Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	if err := r.enter(ctx, "renew", h); err != nil {
		return c, lease.Lease{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.over("renew"); err != nil && !r.bare {
		return c, r.lease, err
	}
	if r.lost > 0 || r.other != "" || c.Handle != r.handle || time.Now().After(r.lapses) {
		r.lost--
		return c, lease.Lease{}, &lease.ClaimLostError{ID: h.InstanceID, By: r.other}
	}
	r.lapses = time.Now().Add(time.Duration(h.HeartbeatTimeout))
	r.heartbeats = append(r.heartbeats, h)
	c.Heartbeat = h
	return c, r.lease, nil
}

func (r *registry) Lease(ctx context.Context, id string) (lease.Lease, error) {
	if err := r.enter(ctx, "lease", lease.Heartbeat{}); err != nil {
		return lease.Lease{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease.InstanceID != id {
		return lease.Lease{}, &lease.NotFoundError{Kind: "lease", ID: id}
	}
	return r.lease, nil
}

func (r *registry) UpdateLease(ctx context.Context, id string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error) {
	if err := r.enter(ctx, "update", lease.Heartbeat{}); err != nil {
		return before, after, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.onUpdate != nil {
		r.onUpdate(r)
	}
	if r.lease.InstanceID != id {
		return before, after, &lease.NotFoundError{Kind: "lease", ID: id}
	}
	before = r.lease
	if after, err = change(before); err != nil {
		return before, before, err
	}
	r.lease = after
	return before, after, nil
}

// Members are the instance itself, if its lease is of the launch.
func (r *registry) Members(ctx context.Context, launch string) ([]string, error) {
	if err := r.enter(ctx, "members", lease.Heartbeat{}); err != nil {
		return nil, err
	}
	if r.current().Launch != launch {
		return nil, nil
	}
	return []string{instance}, nil
}

// Renewals has the heartbeat that was renewed last.
func (r *registry) Renewals(ctx context.Context, _ []string) ([]lease.Lease, map[string]lease.Heartbeat, error) {
	if err := r.enter(ctx, "renewals", lease.Heartbeat{}); err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	hb := r.heartbeats[len(r.heartbeats)-1]
	hb.Held = true
	return []lease.Lease{r.lease}, map[string]lease.Heartbeat{instance: hb}, nil
}

func (r *registry) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	r.mu.Lock()
	r.asked++
	checkpoint, hang, err := r.checkpoint, r.hang, r.fail["checkpoint"]
	r.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return checkpoint, ctx.Err()
	case err == nil && checkpoint.Time.IsZero():
		err = &lease.NotFoundError{Kind: "checkpoint", ID: "default"}
	}
	return checkpoint, err
}

// set changes the fake under its lock.
func (r *registry) set(change func(*registry)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// sweeps is how often the checkpoint was read.
func (r *registry) sweeps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// since returns the calls made since the last time, and forgets them.
func (r *registry) since() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func (r *registry) current() lease.Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease
}

func (r *registry) lastHeartbeat() lease.Heartbeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heartbeats[len(r.heartbeats)-1]
}

// verbs of calls in order, for example "claim renew".
func verbs(calls []call) string {
	var names []string
	for _, c := range calls {
		names = append(names, c.verb)
	}
	return strings.Join(names, " ")
}

// active returns a claimed lease with a term of a day and a NotAfter of a week.
func active(now time.Time, timeout time.Duration) lease.Lease {
	now = now.UTC()
	return lease.Lease{
		Schema: lease.Schema, InstanceID: instance, Holder: "ada", State: lease.StateActive, GrantedAt: now,
		ExpiresAt: now.Add(24 * time.Hour), MaxExpiresAt: now.Add(7 * 24 * time.Hour), HeartbeatTimeout: lease.Duration(timeout),
		ClaimedAt: now, ExpiresNumber: 1, Changes: 2,
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// count of lines that contain text.
func (b *syncBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

// running is a sidecar that runs in a synctest bubble.
type running struct {
	*Sidecar
	registry *registry
	log      *syncBuffer
	cancel   context.CancelFunc
	done     chan error

	mu    sync.Mutex
	notes []note
}

type note struct {
	at   time.Time
	text string
}

// begin runs a sidecar over r until the test ends.
func begin(t *testing.T, r *registry, edit func(*Config)) *running {
	t.Helper()
	run := &running{registry: r, log: &syncBuffer{}, done: make(chan error, 1)}
	cfg := Config{
		InstanceID: instance, BootID: "boot-1", Address: "10.0.0.7", Version: "v1", Open: opened(r, time.Now), Now: time.Now,
		Logger: slog.New(slog.NewTextHandler(run.log, nil)),
		Notify: func(text string) {
			run.mu.Lock()
			defer run.mu.Unlock()
			run.notes = append(run.notes, note{time.Now(), text})
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run.Sidecar = s
	ctx, cancel := context.WithCancel(t.Context())
	run.cancel = cancel
	go func() { run.done <- s.Run(ctx) }()
	synctest.Wait()
	return run
}

// end stops the sidecar, or takes the error with which it has stopped.
func (r *running) end() error {
	r.cancel()
	return <-r.done
}

// pass lets d pass in the bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// told returns the notifications that start with prefix.
func (r *running) told(prefix string) []note {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []note
	for _, n := range r.notes {
		if strings.HasPrefix(n.text, prefix) {
			found = append(found, n)
		}
	}
	return found
}

// status is the last STATUS told to systemd.
func (r *running) status() string {
	all := r.told("STATUS=")
	return strings.TrimPrefix(all[len(all)-1].text, "STATUS=")
}

// opened is the direct way to a store, for a machine with that clock.
func opened(r self.Store, now func() time.Time) func(context.Context) (Registry, error) {
	direct := self.New(r, now, slog.New(slog.DiscardHandler))
	return func(context.Context) (Registry, error) { return direct, nil }
}
