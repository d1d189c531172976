package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lapse/lease"
	"lapse/lease/api/edge"
	"lapse/lease/api/wire"
	"lapse/lease/self"
)

// enrol makes the caller's key one of the instance's, if it proves to be that instance. Whatever else is refused, a signed
// document of an instance that runs is a sign of life: then its lease says that its missing heartbeat is no evidence.
func (s *Server) enrol(ctx context.Context, c caller, r wire.EnrolRequest) (wire.Enrolled, error) {
	e, err := s.cfg.Store.Enrolment(ctx, c.id)
	if err != nil {
		return wire.Enrolled{}, unread(err)
	}
	if _, already := e.Key(c.Key); already {
		edge.Vouch(ctx)
		return enrolled(e), nil
	}
	p, err := s.prove(ctx, c, r, e)
	if err != nil {
		if p.signed {
			s.vouch(ctx, c.id, err)
		}
		return wire.Enrolled{}, err
	}
	key := lease.EnrolledKey{SHA256: c.Key, From: c.Addr.String(), Proof: p.by}
	before, e, err := s.cfg.Store.UpdateEnrolment(ctx, c.id, func(e lease.Enrolment) (lease.Enrolment, error) {
		if p.by == lease.ProofInvitation && !e.Invites(s.cfg.Now(), r.JoinToken) { // somebody was quicker
			return e, &lease.UnprovedError{ID: c.id, Why: "its join token was used; an operator can give it another"}
		}
		return e.Enrol(s.cfg.Now(), p.document.PendingTime, key)
	})
	if err != nil {
		s.vouch(ctx, c.id, err)
		return wire.Enrolled{}, unread(err)
	}
	for _, k := range before.Keys {
		if _, kept := e.Key(k.SHA256); !kept {
			edge.Disown(ctx, k.SHA256)
		}
	}
	edge.Vouch(ctx)
	s.log.InfoContext(ctx, "enrolled", "instance_id", c.id, "from", c.Addr.String(), "proof", string(p.by), "keys", len(e.Keys))
	if e.Contested.IsZero() {
		s.settle(ctx, c.id, "enrolled")
	}
	return enrolled(e), nil
}

func enrolled(e lease.Enrolment) wire.Enrolled {
	return wire.Enrolled{Keys: len(e.Keys), Contested: !e.Contested.IsZero()}
}

// vouch notes a sign of life. An instance without a lease needs none, nor does one that renews.
func (s *Server) vouch(ctx context.Context, id string, why error) {
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteMax)
	defer cancel()
	if _, err := s.cfg.Store.Resume(looking, id, ""); err == nil {
		return
	}
	by := lease.By{Actor: self.Actor(id), Reason: fmt.Sprintf("%.*s", lease.MaxReason, "not enrolled: "+why.Error())}
	s.note(ctx, id, lease.ActionVouch, func(l lease.Lease) (lease.Lease, error) { return l.Vouch(s.cfg.Now(), by) })
}

// settle ends what a vouch began, once the instance can renew by itself.
func (s *Server) settle(ctx context.Context, id, why string) {
	by := lease.By{Actor: self.Actor(id), Reason: why}
	s.note(ctx, id, lease.ActionSettle, func(l lease.Lease) (lease.Lease, error) {
		if !l.ContestedAt.IsZero() { // an operator's to settle
			return l, nil
		}
		return l.Settled(s.cfg.Now(), by)
	})
}

// noteMax bounds a note, also of a call whose time is over: that EC2 took all of it is why there is one.
const noteMax = 5 * time.Second

// note changes the lease, if there is one that can be.
func (s *Server) note(ctx context.Context, id string, action lease.Action, change func(lease.Lease) (lease.Lease, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteMax)
	defer cancel()
	_, _, err := s.cfg.Store.UpdateLease(ctx, id, change)
	_, none := errors.AsType[*lease.NotFoundError](err)
	_, over := errors.AsType[*lease.StateError](err)
	if err != nil && !none && !over {
		s.log.WarnContext(ctx, "cannot note in the lease", "instance_id", id, "action", string(action), "error", err)
	}
}
