package leasetest

import (
	"context"
	"errors"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
)

// Leadership is a janitor's leadership of a [Store].
type Leadership struct {
	*etcd.Leadership
	store   *Store
	timeout time.Duration
	end     func() // resigns, whatever Fault says
}

// Campaign becomes leader at once and deposes whoever held it. As after a pause of its process, the deposed one hears of
// that from the refusal of its writes; its Lost closes only after its timeout.
func (s *Store) Campaign(ctx context.Context, name string, timeout time.Duration) (*Leadership, error) {
	if err := s.fault("Campaign"); err != nil {
		return nil, err
	}
	s.cluster.Erase(s.Election())
	won, err := s.Store.Campaign(ctx, name, timeout)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.leaders); n > 0 {
		time.AfterFunc(s.leaders[n-1].timeout, s.leaders[n-1].end)
	}
	o := &Leadership{Leadership: won, store: s, timeout: timeout, end: func() { _ = won.Resign(context.WithoutCancel(ctx)) }}
	s.leaders = append(s.leaders, o)
	return o, nil
}

// Depose takes the leadership away from whoever holds it, and Lost closes.
func (s *Store) Depose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.leaders); n > 0 {
		s.leaders[n-1].end()
	}
}

// Leader is the name of whoever leads, and false if nobody does.
func (s *Store) Leader() (string, bool) {
	for _, kv := range s.cluster.Dump(s.Election()) {
		return string(kv.Value), true
	}
	return "", false
}

// Resign gives the leadership up.
func (o *Leadership) Resign(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := o.store.fault("Resign")
	if err != nil {
		cancel()
	}
	return errors.Join(err, o.Leadership.Resign(ctx))
}

// Snapshot reads everything at one revision.
func (o *Leadership) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	return o.store.Snapshot(ctx)
}

// Lease reads the lease of an instance.
func (o *Leadership) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return o.store.Lease(ctx, id)
}

// Launch reads a launch.
func (o *Leadership) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return o.store.Launch(ctx, token)
}

// put writes unless Fault says otherwise.
func put[R any](
	ctx context.Context, o *Leadership, method string, do func(context.Context, lease.Registry, R) (R, error), reg lease.Registry, r R,
) (R, error) {
	if err := o.store.fault("Leadership." + method); err != nil {
		return r, err
	}
	return do(ctx, reg, r)
}

// change is put of what gives no record back.
func change[R any](
	ctx context.Context, o *Leadership, method string, do func(context.Context, lease.Registry, R) error, reg lease.Registry, r R,
) error {
	if err := o.store.fault("Leadership." + method); err != nil {
		return err
	}
	return do(ctx, reg, r)
}

// PutLease writes the lease if it is still at l's revision.
func (o *Leadership) PutLease(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error) {
	return put(ctx, o, "PutLease", o.Leadership.PutLease, reg, l)
}

// Revoke writes the revoked lease.
func (o *Leadership) Revoke(ctx context.Context, reg lease.Registry, l lease.Lease, lost bool) (lease.Lease, error) {
	return put(ctx, o, "Revoke", func(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error) {
		return o.Leadership.Revoke(ctx, reg, l, lost)
	}, reg, l)
}

// PutLaunch writes the launch if it is still at l's revision.
func (o *Leadership) PutLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) (lease.Launch, error) {
	return put(ctx, o, "PutLaunch", o.Leadership.PutLaunch, reg, l)
}

// PutCheckpoint writes the checkpoint if it is still at c's revision.
func (o *Leadership) PutCheckpoint(ctx context.Context, reg lease.Registry, c lease.Checkpoint) (lease.Checkpoint, error) {
	return put(ctx, o, "PutCheckpoint", o.Leadership.PutCheckpoint, reg, c)
}

// PutPlan publishes a plan in place of the one that is there.
func (o *Leadership) PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) error {
	return change(ctx, o, "PutPlan", o.Leadership.PutPlan, reg, p)
}

// DeletePlan deletes the published plan, if there is one.
func (o *Leadership) DeletePlan(ctx context.Context, reg lease.Registry) error {
	if err := o.store.fault("Leadership.DeletePlan"); err != nil {
		return err
	}
	return o.Leadership.DeletePlan(ctx, reg)
}

// DeleteLease removes a tombstone if it is still at l's revision.
func (o *Leadership) DeleteLease(ctx context.Context, reg lease.Registry, l lease.Lease) error {
	return change(ctx, o, "DeleteLease", o.Leadership.DeleteLease, reg, l)
}

// DeleteLaunch removes a tombstone if it is still at l's revision.
func (o *Leadership) DeleteLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) error {
	return change(ctx, o, "DeleteLaunch", o.Leadership.DeleteLaunch, reg, l)
}
