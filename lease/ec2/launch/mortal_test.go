package launch_test

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
	"lapse/lease/leasetest"
)

// errDead is what a mortal's calls return after its death.
var errDead = errors.New("the launcher is dead")

// mortal lets a launcher die at its last step: a store write or a call to EC2. It dies just before the step, or just
// after the deed and before it learns of it.
type mortal struct {
	*leasetest.Store
	http *http.Client
	die  context.CancelFunc

	mu    sync.Mutex
	armed bool
	left  int // steps to live, the last one included
	after bool
	steps int
}

func (m *mortal) step(deed func() error) error {
	m.mu.Lock()
	if !m.armed {
		m.mu.Unlock()
		return deed()
	}
	m.steps++
	m.left--
	dead, last, after := m.left < 0, m.left == 0, m.after
	m.mu.Unlock()
	switch {
	case dead:
		return errDead
	case last && after:
		_ = deed() // nobody hears of it
		m.die()
		return errDead
	case last:
		m.die()
		return errDead
	}
	return deed()
}

// Do makes mortal the SDK's HTTP client.
func (m *mortal) Do(r *http.Request) (resp *http.Response, err error) {
	stepErr := m.step(func() error {
		resp, err = m.http.Do(r.WithContext(context.WithoutCancel(r.Context()))) //nolint:bodyclose // below, or by the SDK
		return nil
	})
	if stepErr != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return nil, stepErr
	}
	return resp, err
}

func (m *mortal) PutLaunch(ctx context.Context, l lease.Launch) (stored lease.Launch, err error) {
	stepErr := m.step(func() error {
		stored, err = m.Store.PutLaunch(context.WithoutCancel(ctx), l)
		return nil
	})
	if stepErr != nil {
		return lease.Launch{}, stepErr
	}
	return stored, err
}

func (m *mortal) Bind(ctx context.Context, l lease.Launch, wanted []lease.Lease) (bound []lease.Lease, err error) {
	stepErr := m.step(func() error {
		bound, err = m.Store.Bind(context.WithoutCancel(ctx), l, wanted)
		return nil
	})
	if stepErr != nil {
		return nil, stepErr
	}
	return bound, err
}

// killed runs a launch whose launcher dies at step n, and returns how many steps it began.
func (w world) killed(t ec2test.T, r launch.Request, n int, after bool) (int, error) {
	t.Helper()
	ctx, die := context.WithCancel(t.Context())
	defer die()
	m := &mortal{Store: w.store, http: w.HTTP, die: die, left: n + 1, after: after}
	cfg := w.AWS()
	cfg.HTTPClient = m
	cloud := w.Cloud(t, cfg, ec2.Options{})
	m.armed = true
	_, err := launch.New(cloud, m, quick()).Launch(ctx, r)
	return m.steps, err
}
