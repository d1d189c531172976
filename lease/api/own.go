package api

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"strings"
	"unicode"

	"lapse/lease"
	"lapse/lease/api/edge"
	"lapse/lease/api/wire"
	"lapse/lease/problem"
	"lapse/lease/self"
)

// admit lets a caller in whose key is enrolled for the instance, and notes which of its keys is in use. It writes only when that is
// another than before.
func (s *Server) admit(ctx context.Context, c caller) (lease.Enrolment, error) {
	e, err := s.cfg.Store.Enrolment(ctx, c.id)
	if err != nil {
		return e, unread(err)
	}
	used, err := e.Use(s.cfg.Now(), c.Key)
	if err != nil {
		edge.Disown(ctx, c.Key)
		return e, err
	}
	edge.Vouch(ctx)
	if reflect.DeepEqual(used, e) {
		return e, nil
	}
	_, e, err = s.cfg.Store.UpdateEnrolment(ctx, c.id, func(e lease.Enrolment) (lease.Enrolment, error) { return e.Use(s.cfg.Now(), c.Key) })
	if err != nil {
		return e, unread(err)
	}
	return e, nil
}

// contest lets the lease say that more than one claims to be its instance. If that fails, the next renewal tries again. An operator
// who settles it writes the enrolment first: it is read again here, so that no renewal under way contests what is settled.
func (s *Server) contest(ctx context.Context, c caller) {
	by := lease.By{Actor: self.Actor(c.id), Reason: "an older key was used after a newer one, from " + c.Addr.String()}
	_, _, err := s.cfg.Store.UpdateLease(ctx, c.id, func(l lease.Lease) (lease.Lease, error) {
		if e, err := s.cfg.Store.Enrolment(ctx, c.id); err != nil || e.Contested.IsZero() {
			return l, err
		}
		return l.Contest(s.cfg.Now(), by)
	})
	if err != nil {
		s.log.WarnContext(ctx, "cannot note that the instance is contested; the next renewal tries again", "instance_id", c.id, "error", err)
	}
}

func (s *Server) renew(ctx context.Context, c caller, e lease.Enrolment, r wire.RenewRequest) (wire.Renewed, error) {
	hb := lease.Heartbeat{
		Schema: lease.Schema, InstanceID: c.id, BootID: r.BootID, Address: r.Address, Version: r.Version, Changes: r.Changes,
		HeartbeatTimeout: r.HeartbeatTimeout, Since: r.Since,
	}
	claim, err := s.claim(ctx, &hb, r.Claim)
	if err != nil {
		return wire.Renewed{}, unread(err)
	}
	claim, l, err := s.self.Renew(ctx, claim, hb)
	answer := wire.Renewed{Heartbeat: claim.Heartbeat}
	switch {
	case self.Unreadable(err):
		details := problem.Of(err)
		answer.Unreadable = &details
	case err != nil:
		return wire.Renewed{}, unread(err)
	case l.InstanceID != "":
		answer.Lease = &l
		s.memory.serve(l)
		if !e.Contested.IsZero() && l.ContestedAt.IsZero() {
			s.contest(ctx, c)
		}
		if !l.VouchedAt.IsZero() && e.Contested.IsZero() {
			s.settle(ctx, c.id, "it renews")
		}
	}
	return answer, nil
}

// claim is the heartbeat's, made now or by the same boot before. Of the changes that the heartbeat says to have seen, it is left
// with what is believed. A renewal is refused for no bound: it is all that shows that the instance lives.
func (s *Server) claim(ctx context.Context, hb *lease.Heartbeat, anew bool) (claim lease.Claim, err error) {
	if err := hb.Check(); err != nil {
		return claim, err
	}
	said := hb.Changes
	if anew {
		if err := s.memory.claim(hb.InstanceID); err != nil {
			return claim, err
		}
		hb.Changes = s.memory.believed(hb.InstanceID, said, 0)
		return s.self.Claim(ctx, *hb)
	}
	claim, err = s.cfg.Store.Resume(ctx, hb.InstanceID, hb.BootID)
	hb.Changes = s.memory.believed(hb.InstanceID, said, claim.Heartbeat.Changes)
	if err == nil && says(*hb) != says(claim.Heartbeat) && s.memory.change(hb.InstanceID) != nil {
		*hb = claim.Heartbeat // it is kept alive all the same, and says the new later
	}
	return claim, err
}

// says is what of a heartbeat is written anew if it changes.
func says(hb lease.Heartbeat) lease.Heartbeat {
	hb.Since, hb.Created, hb.Held, hb.Schema = hb.Since.UTC().Round(0), 0, false, 0
	hb.HeartbeatTimeout = cmp.Or(hb.HeartbeatTimeout, lease.Duration(lease.DefaultHeartbeatTimeout))
	return hb
}

func (s *Server) show(ctx context.Context, c caller) (wire.Shown, error) {
	var shown wire.Shown
	l, err := s.self.Lease(ctx, c.id)
	if err == nil {
		shown.Lease = &l
	} else if _, none := errors.AsType[*lease.NotFoundError](err); !none {
		return shown, unread(err)
	}
	checkpoint, err := s.self.Checkpoint(ctx)
	if err == nil {
		shown.Checkpoint = when(checkpoint)
	} else if _, none := errors.AsType[*lease.NotFoundError](err); !none && !self.Unreadable(err) {
		return shown, unread(err)
	}
	return shown, nil
}

// when is of a checkpoint what an instance judges its clock by. The rest is about others.
func when(s lease.Checkpoint) *lease.Checkpoint {
	return &lease.Checkpoint{
		Schema: s.Schema, Sequence: s.Sequence, Nonce: s.Nonce, Time: s.Time, Witnessed: s.Witnessed, NextSweep: s.NextSweep, Locations: []lease.Location{},
	}
}

// peers are the others of its launch that live. The record of the launch names them, so what is read grows with the launch and not
// with the registry.
func (s *Server) peers(ctx context.Context, c caller) (wire.Peers, error) {
	if err := s.memory.ask(c.id); err != nil {
		return wire.Peers{}, err
	}
	peers, err := s.self.PeersAmong(ctx, c.id, func(ctx context.Context, launch string) ([]string, error) {
		record, err := s.cfg.Store.Launch(ctx, launch)
		return record.Instances(), err
	})
	if err != nil {
		return wire.Peers{}, unread(err)
	}
	return wire.Peers{Peers: peers}, nil
}

func (s *Server) extend(ctx context.Context, c caller, call wire.ExtendCall) (lease.Extended, error) {
	if err := s.memory.change(c.id); err != nil {
		return lease.Extended{}, err
	}
	extended, err := s.self.Extend(ctx, c.id, call.ExtendRequest, by(c, call.User, call.Reason))
	return extended, discreet(err)
}

// release gives the lease back, unless it is not certain who asks.
func (s *Server) release(ctx context.Context, c caller, r wire.ReleaseRequest) (lease.Lease, error) {
	e, err := s.admit(ctx, c)
	if err != nil {
		return lease.Lease{}, err
	}
	if !e.Contested.IsZero() {
		return lease.Lease{}, &lease.ContestedError{ID: c.id, Verb: "release", Since: e.Contested}
	}
	released, err := s.self.Release(ctx, c.id, by(c, r.User, r.Reason))
	return released, discreet(err)
}

// by is who acts: the instance, and what it says of its user, which is nobody's word but its own.
func by(c caller, user, reason string) lease.By {
	const most = 64
	user = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, user)
	actor := self.Actor(c.id)
	if user = user[:min(len(user), most)]; user != "" {
		actor += " " + strings.ToValidUTF8(user, "")
	}
	return lease.By{Actor: actor, Reason: reason}
}

// unread is what a failure of the store means to the caller: nothing that the store said of itself.
func unread(err error) error {
	if problem.Known(err) {
		return err
	}
	return &lease.UnavailableError{Why: "etcd gives no answer"}
}

// discreet leaves out what the store said of itself: an instance is not told where etcd is.
func discreet(err error) error {
	const why = "etcd gives no answer"
	if e, is := errors.AsType[*lease.OutcomeUnknownError](err); is {
		told := *e
		told.Why = why
		return &told
	}
	if _, is := errors.AsType[*lease.UnavailableError](err); is {
		return &lease.UnavailableError{Why: why}
	}
	return err
}
