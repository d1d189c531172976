package self

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"lapse/lease"
	"lapse/lease/problem"
)

// Store is what this needs of the store of leases.
type Store interface {
	// Claim makes the heartbeat's key, or takes it over.
	Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error)
	// Renew keeps a claim alive, moves it to h's timeout if that is another, and returns the lease, zero if none is bound yet.
	Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error)
	// UpdateLease writes what change makes of the lease. If somebody else changed the lease in between, it reads again.
	UpdateLease(ctx context.Context, id string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error)
	// Lease reads one lease.
	Lease(ctx context.Context, id string) (lease.Lease, error)
	// Checkpoint reads the checkpoint of the last sweep, which shows a clock that is behind.
	Checkpoint(ctx context.Context) (lease.Checkpoint, error)
	// Members are the instances with a lease of a launch, for those who may not read the launch.
	Members(ctx context.Context, launch string) ([]string, error)
	// Renewals reads leases, and the heartbeats of those that have one, by instance id. What cannot be read is absent.
	Renewals(ctx context.Context, ids []string) ([]lease.Lease, map[string]lease.Heartbeat, error)
}

// Service does it over a store.
type Service struct {
	Store

	clock   *Clock
	rosters rosters
	log     *slog.Logger
}

// New returns a service over a store; now is this machine's clock.
func New(store Store, now func() time.Time, log *slog.Logger) *Service {
	return &Service{Store: store, clock: NewClock(now), log: log}
}

// Actor is how an instance's acts are signed in histories.
func Actor(instanceID string) string { return "instance:" + instanceID }

// Claim is [Store].Claim of a heartbeat that a record can hold.
//
// Errors: [lease.LimitError], and those of the store.
func (s *Service) Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error) {
	if err := h.Check(); err != nil {
		return lease.Claim{}, err
	}
	return s.Store.Claim(ctx, h)
}

// Renew is [Store].Renew. The first time, it also notes in the lease that a sidecar renews it. A failure of that is none of the
// renewal: the lease returned lacks ClaimedAt, and the next renewal tries again.
func (s *Service) Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	if err := h.Check(); err != nil {
		return c, lease.Lease{}, err
	}
	claim, l, err := s.Store.Renew(ctx, c, h)
	if err != nil || l.State != lease.StateActive || !l.ClaimedAt.IsZero() {
		return claim, l, err
	}
	by := lease.By{Actor: Actor(l.InstanceID), Reason: "first heartbeat"}
	_, after, err := s.UpdateLease(ctx, l.InstanceID, func(l lease.Lease) (lease.Lease, error) {
		return l.Claimed(s.clock.Time().Now, by)
	})
	if err != nil {
		s.log.DebugContext(ctx, "cannot record the first heartbeat in the lease", "instance_id", l.InstanceID, "error", err)
		return claim, l, nil
	}
	return claim, after, nil
}

// Checkpoint reads the checkpoint of the last sweep, and sets the clock by it.
func (s *Service) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	checkpoint, err := s.Store.Checkpoint(ctx)
	if err == nil {
		s.clock.Learn(checkpoint)
	}
	return checkpoint, err
}

// Extend moves the expiry as far as the lease and the request allow. What is asked for is made a date before the write, so that
// a repetition asks for the same.
//
// Errors: [lease.LimitError], [lease.NotFoundError], [lease.StateError], [lease.PastError], [lease.ShortenError],
// [lease.ClampedError], [lease.ConflictError], [lease.UnavailableError], [lease.OutcomeUnknownError].
func (s *Service) Extend(ctx context.Context, id string, req lease.ExtendRequest, by lease.By) (lease.Extended, error) {
	if err := req.Check(); err != nil {
		return lease.Extended{}, err
	}
	current, err := s.Lease(ctx, id)
	if err != nil {
		return lease.Extended{}, unread(err)
	}
	reckoned, err := s.reckon(ctx)
	if err != nil {
		return lease.Extended{}, unread(err)
	}
	asked := req.Date(current, reckoned.Now)
	if err := lease.CheckDate(asked); err != nil {
		return lease.Extended{}, err
	}
	by.Reason = req.Reason
	before, after, err := s.UpdateLease(ctx, id, func(l lease.Lease) (lease.Lease, error) {
		return l.ExtendSelf(reckoned.Now, asked, req, by)
	})
	if err != nil {
		return lease.Extended{}, unwritten(err, lease.OutcomeUnknownError{Verb: "extend", Until: asked})
	}
	return lease.Extended{
		Asked: asked, Before: before.ExpiresAt, Granted: after.ExpiresAt,
		Clamped: !after.ExpiresAt.IsZero() && after.ExpiresAt.Before(asked), Lease: after,
		ClockBehind: lease.Duration(reckoned.Behind), SweepLate: lease.Duration(reckoned.Late),
	}, nil
}

// reckon reads the checkpoint of the last sweep, and what time it is by that. One that is not there or cannot be read says
// nothing.
func (s *Service) reckon(ctx context.Context) (lease.Reckoning, error) {
	checkpoint, err := s.Store.Checkpoint(ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); none || Unreadable(err) {
		return s.clock.Time(), nil
	}
	if err != nil {
		return lease.Reckoning{}, err
	}
	return s.clock.Learn(checkpoint), nil
}

// Release revokes the lease, which terminates the instance, unless more than one claims to be that.
//
// Errors: [lease.LimitError], [lease.ContestedError], [lease.NotFoundError], [lease.StateError], [lease.ConflictError], [lease.OutcomeUnknownError].
func (s *Service) Release(ctx context.Context, id string, by lease.By) (lease.Lease, error) {
	if err := lease.CheckReason(by.Reason); err != nil {
		return lease.Lease{}, err
	}
	_, after, err := s.UpdateLease(ctx, id, func(l lease.Lease) (lease.Lease, error) {
		if l.Live() && !l.ContestedAt.IsZero() {
			return l, &lease.ContestedError{ID: id, Verb: "release", Since: l.ContestedAt}
		}
		return l.Revoke(s.clock.Time().Now, lease.CauseRelease, by)
	})
	return after, unwritten(err, lease.OutcomeUnknownError{Verb: "release"})
}

// Unreadable reports whether an error says that a record was read and not understood.
func Unreadable(err error) bool {
	_, malformed := errors.AsType[*lease.MalformedError](err)
	_, newer := errors.AsType[*lease.SchemaError](err)
	return malformed || newer
}

// unread is what a failed read means to whoever asked.
func unread(err error) error {
	if problem.Known(err) {
		return err
	}
	return &lease.UnavailableError{Why: err.Error()}
}

// unwritten is what a failed write means to whoever asked: a refusal by type, or else nobody knows.
func unwritten(err error, unknown lease.OutcomeUnknownError) error {
	if err == nil || problem.Known(err) {
		return err
	}
	unknown.Why = err.Error()
	return &unknown
}
