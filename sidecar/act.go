package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"lapse/lease"
)

// extend moves the expiry as far as the maximum expiry and the policy allow. What is asked for is made a date before the write, so
// that a repetition asks for the same.
func (s *Sidecar) extend(ctx context.Context, req ExtendRequest) (Extended, error) {
	if err := checkExtend(req); err != nil {
		return Extended{}, err
	}
	registry, err := s.lazy.registry(ctx)
	if err != nil {
		return Extended{}, &UnavailableError{Why: err.Error()}
	}
	current, err := registry.Lease(ctx, s.cfg.InstanceID)
	if err != nil {
		return Extended{}, readError(err)
	}
	reckoned, err := s.reckon(ctx, registry)
	if err != nil {
		return Extended{}, readError(err)
	}
	now := reckoned.Now
	asked := until(req, current, now)
	if err := lease.CheckDate(asked); err != nil {
		return Extended{}, err
	}
	before, after, err := registry.UpdateLease(ctx, s.cfg.InstanceID, func(l lease.Lease) (lease.Lease, error) {
		granted := asked
		if limit := s.policyLimit(l, now); !limit.IsZero() && asked.After(limit) {
			if req.Strict {
				return l, &lease.ClampedError{ID: l.InstanceID, Asked: asked, MaxExpiresAt: limit}
			}
			granted = limit
		}
		extension := lease.Extension{Until: granted, Strict: req.Strict, AtLeast: req.For > 0}
		return l.Extend(now, extension, s.by(ctx, req.Reason))
	})
	if err != nil {
		return Extended{}, writeError(err, OutcomeUnknownError{Verb: "extend", Until: asked})
	}
	s.view.saw(after)
	if after.Changes != before.Changes { // or else every local user could fill the log
		s.cfg.Logger.Info("extended", "uid", peerOf(ctx),
			"asked", asked, "before", before.ExpiresAt, "granted", after.ExpiresAt)
	}
	return Extended{
		Asked: asked, Before: before.ExpiresAt, Granted: after.ExpiresAt,
		Clamped: !after.ExpiresAt.IsZero() && after.ExpiresAt.Before(asked), Lease: after,
		ClockBehind: lease.Duration(reckoned.Behind), SweepLate: lease.Duration(reckoned.Late),
	}, nil
}

// reckon reads the checkpoint of the last sweep, and what time it is by that. One that is not there or cannot be read says
// nothing.
func (s *Sidecar) reckon(ctx context.Context, registry Registry) (lease.Reckoning, error) {
	checkpoint, err := registry.Checkpoint(ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); none || cannotRead(err) {
		return s.clock.time(), nil
	}
	if err != nil {
		return lease.Reckoning{}, err
	}
	return s.clock.learn(checkpoint), nil
}

// policyLimit is how far a local program may extend, never before the present expiry; zero: without a limit.
func (s *Sidecar) policyLimit(l lease.Lease, now time.Time) time.Time {
	if s.cfg.MaxExtend == 0 {
		return time.Time{}
	}
	limit := now.Add(s.cfg.MaxExtend)
	if limit.Before(l.ExpiresAt) {
		return l.ExpiresAt
	}
	return limit.UTC()
}

// release revokes the lease, which terminates the instance, and makes the loop see it at once.
func (s *Sidecar) release(ctx context.Context, req ReleaseRequest) (lease.Lease, error) {
	if err := lease.CheckReason(req.Reason); err != nil {
		return lease.Lease{}, err
	}
	registry, err := s.lazy.registry(ctx)
	if err != nil {
		return lease.Lease{}, &UnavailableError{Why: err.Error()}
	}
	_, after, err := registry.UpdateLease(ctx, s.cfg.InstanceID, func(l lease.Lease) (lease.Lease, error) {
		return l.Revoke(s.clock.time().Now, lease.CauseRelease, s.by(ctx, req.Reason))
	})
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if err != nil {
		return lease.Lease{}, writeError(err, OutcomeUnknownError{Verb: "release"})
	}
	s.cfg.Logger.Info("released", "uid", peerOf(ctx), "reason", req.Reason)
	return after, nil
}

func (s *Sidecar) by(ctx context.Context, reason string) lease.By {
	return lease.By{Actor: fmt.Sprintf("%s uid=%d", actor(s.cfg.InstanceID), peerOf(ctx)), Reason: reason}
}

// mayRelease reports whether a user may give the lease back: root, or this process's own; one whom the kernel does not
// name, -1, may not.
func mayRelease(uid int64) bool { return uid == 0 || uid == int64(os.Getuid()) }

// until makes a date of the request, to the millisecond as records keep it.
func until(req ExtendRequest, l lease.Lease, now time.Time) time.Time {
	switch {
	case !req.Until.IsZero():
		now = req.Until
	case req.By != 0 && !l.ExpiresAt.IsZero():
		now = l.ExpiresAt.Add(time.Duration(req.By))
	default: // without a term "by" is refused all the same, as there is none to extend
		now = now.Add(time.Duration(req.For + req.By))
	}
	return now.UTC().Round(0).Truncate(time.Millisecond)
}

func checkExtend(req ExtendRequest) error {
	given := 0
	for _, set := range []bool{req.For != 0, req.By != 0, !req.Until.IsZero()} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return &lease.LimitError{What: "extension", Why: `must have exactly one of "for", "by" and "until"`}
	case req.For < 0 || req.By < 0:
		return &lease.LimitError{What: "extension " + (req.For + req.By).String(), Why: "must not be negative"}
	}
	return lease.CheckReason(req.Reason)
}

// readError is what a failed read of the registry means to the caller.
func readError(err error) error {
	if status, _ := encodeError(err); status != http.StatusInternalServerError {
		return err
	}
	return &UnavailableError{Why: err.Error()}
}

// writeError is what a failed write means to the caller: a refusal by type, or else nobody knows.
func writeError(err error, unknown OutcomeUnknownError) error {
	if status, _ := encodeError(err); status != http.StatusInternalServerError {
		return err
	}
	unknown.Why = err.Error()
	return &unknown
}
