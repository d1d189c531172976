package sidecar

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"lapse/lease"
	"lapse/lease/self"
)

// How often local programs may extend, all of them together: any local user may, and the API takes 20 calls a second of one
// instance, its renewals among them.
const (
	extendRate  = 2 // a second
	extendBurst = 20
)

// How often local programs may ask for the peers of this instance, all of them together: as often as the API lets one instance.
const (
	peersRate  = 0.5 // a second
	peersBurst = 20
)

// turnsMax is how many calls of local programs to the registry are under way at once: the API takes 4 requests of one instance at
// once, and the heartbeat is one of them.
const turnsMax = 2

// turn waits until a local program may call the registry.
func (s *Sidecar) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, &lease.UnavailableError{Why: "other programs wait for it, too"}
	}
}

// peers are the instances of the same launch that live.
func (s *Sidecar) peers(ctx context.Context) (PeersAnswer, error) {
	if !s.sees.Allow() {
		return PeersAnswer{}, &lease.TooOftenError{ID: s.cfg.InstanceID, Does: "asks for its peers", After: lease.Duration(2 * time.Second)}
	}
	done, err := s.turn(ctx)
	if err != nil {
		return PeersAnswer{}, err
	}
	defer done()
	registry, err := s.lazy.registry(ctx)
	if err != nil {
		return PeersAnswer{}, &lease.UnavailableError{Why: err.Error()}
	}
	peers, err := registry.Peers(ctx, s.cfg.InstanceID)
	return PeersAnswer{Peers: peers}, err
}

// extend moves the expiry as far as the maximum expiry and the policy allow.
func (s *Sidecar) extend(ctx context.Context, req lease.ExtendRequest) (lease.Extended, error) {
	if err := req.Check(); err != nil {
		return lease.Extended{}, err
	}
	if !s.asked.Allow() {
		return lease.Extended{}, &lease.TooOftenError{ID: s.cfg.InstanceID, After: lease.Duration(time.Second)}
	}
	done, err := s.turn(ctx)
	if err != nil {
		return lease.Extended{}, err
	}
	defer done()
	registry, err := s.lazy.registry(ctx)
	if err != nil {
		return lease.Extended{}, &lease.UnavailableError{Why: err.Error()}
	}
	if limit := lease.Duration(s.cfg.MaxExtend); limit > 0 {
		req.Within = min(cmp.Or(req.Within, limit), limit)
	}
	extended, err := registry.Extend(ctx, s.cfg.InstanceID, req, s.by(ctx, req.Reason))
	if err != nil {
		return lease.Extended{}, err
	}
	s.view.saw(extended.Lease)
	if checkpoint, err := registry.Checkpoint(ctx); err == nil {
		s.view.clockIs(s.clock.Learn(checkpoint))
	}
	if !extended.Granted.Equal(extended.Before) { // or else every local user could fill the log
		s.cfg.Logger.Info("extended", "uid", peerOf(ctx), "asked", extended.Asked, "before", extended.Before, "granted", extended.Granted)
	}
	return extended, nil
}

// release revokes the lease, which terminates the instance, and makes the loop see it at once.
func (s *Sidecar) release(ctx context.Context, req ReleaseRequest) (lease.Lease, error) {
	if err := lease.CheckReason(req.Reason); err != nil {
		return lease.Lease{}, err
	}
	registry, err := s.lazy.registry(ctx)
	if err != nil {
		return lease.Lease{}, &lease.UnavailableError{Why: err.Error()}
	}
	after, err := registry.Release(ctx, s.cfg.InstanceID, s.by(ctx, req.Reason))
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if err != nil {
		return lease.Lease{}, err
	}
	s.cfg.Logger.Info("released", "uid", peerOf(ctx), "reason", req.Reason)
	return after, nil
}

func (s *Sidecar) by(ctx context.Context, reason string) lease.By {
	return lease.By{Actor: fmt.Sprintf("%s uid=%d", self.Actor(s.cfg.InstanceID), peerOf(ctx)), Reason: reason}
}

// mayRelease reports whether a user may give the lease back: root, or this process's own; one whom the kernel does not
// name, -1, may not.
func mayRelease(uid int64) bool { return uid == 0 || uid == int64(os.Getuid()) }
