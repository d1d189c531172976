package sidecar

import (
	"context"

	"lapse/lease"
)

// Lazy returns a registry that is opened when it is first needed, and again until that succeeds: a sidecar must start,
// and serve its socket, while the registry is away. open is bounded by the ctx of the call that needs it.
func Lazy(open func(context.Context) (Registry, error)) Registry {
	return &lazy{open: open, turn: make(chan struct{}, 1)}
}

type lazy struct {
	open   func(context.Context) (Registry, error)
	turn   chan struct{} // holds a value while somebody uses opened
	opened Registry
}

func (l *lazy) registry(ctx context.Context) (Registry, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.opened != nil {
		return l.opened, nil
	}
	opened, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	l.opened = opened
	return opened, nil
}

// Claim opens the registry and claims.
func (l *lazy) Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error) {
	r, err := l.registry(ctx)
	if err != nil {
		return lease.Claim{}, err
	}
	return r.Claim(ctx, h)
}

// Renew opens the registry and renews.
func (l *lazy) Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	r, err := l.registry(ctx)
	if err != nil {
		return c, lease.Lease{}, err
	}
	return r.Renew(ctx, c, h)
}

// UpdateLease opens the registry and updates. A registry that was never reached has written nothing.
func (l *lazy) UpdateLease(ctx context.Context, id string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error) {
	r, err := l.registry(ctx)
	if err != nil {
		return before, after, &UnavailableError{Why: err.Error()}
	}
	return r.UpdateLease(ctx, id, change)
}

// Lease opens the registry and reads.
func (l *lazy) Lease(ctx context.Context, id string) (lease.Lease, error) {
	r, err := l.registry(ctx)
	if err != nil {
		return lease.Lease{}, err
	}
	return r.Lease(ctx, id)
}

// Checkpoint opens the registry and reads.
func (l *lazy) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	r, err := l.registry(ctx)
	if err != nil {
		return lease.Checkpoint{}, err
	}
	return r.Checkpoint(ctx)
}
