package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"lapse/lease"
	"lapse/lease/api/identity"
	"lapse/lease/api/wire"
	"lapse/lease/self"
)

const (
	// startSlack is how much a document may be older than the start that EC2 tells: EC2's own two dates differ by seconds.
	startSlack = 5 * time.Minute
	// youngMax is how soon after its start an instance may enrol without a token.
	youngMax = 15 * time.Minute
	// unknownMax is for how long EC2 may not know an instance that it has just started.
	unknownMax   = 5 * time.Minute
	unknownPause = 5 * time.Second
)

// proof is what a caller has shown.
type proof struct {
	document identity.Document
	signed   bool // the document is EC2's, and of this instance
	by       lease.Proof
}

// prove checks that the caller is the instance: by a document that EC2 has signed for it in the Region where it is expected, by
// what EC2 says of it now, and by a token that only it was given.
//
// Errors: [lease.UnprovedError]; [lease.UncheckedError] if EC2 or the registry cannot say just now.
func (s *Server) prove(ctx context.Context, c caller, r wire.EnrolRequest, e lease.Enrolment) (p proof, err error) {
	refuse := func(why string) (proof, error) { return p, &lease.UnprovedError{ID: c.id, Why: why} }
	reg, err := s.cfg.Store.Registry(ctx)
	if err != nil {
		return p, unread(err)
	}
	l, err := s.cfg.Store.Lease(ctx, c.id)
	if _, none := errors.AsType[*lease.NotFoundError](err); err != nil && !none && !self.Unreadable(err) {
		return p, unread(err)
	}
	if err := l.Renewable("enrol"); err != nil {
		return p, err
	}
	cloud, err := s.signed(c, r, l, &p)
	if _, blind := errors.AsType[*unsureError](err); blind {
		return s.unsure(ctx, cloud, c, err)
	}
	if err != nil {
		return p, err
	}
	if p.document.PendingTime.Before(e.PendingTime) {
		p.signed = false // it may run no more
		return refuse("its document is of an earlier start than one that was shown before")
	}
	more, err := s.more(ctx, c, r.JoinToken, e, l, p.document)
	if err != nil {
		return p, unread(err)
	}
	if err := s.memory.prove(c.id, more); err != nil {
		return p, err
	}
	i, err := s.describe(ctx, cloud, c, p)
	switch {
	case err != nil:
		return p, err
	case i == nil:
		p.signed = false
		return refuse("EC2 does not know it")
	case i.State != lease.InstancePending && i.State != lease.InstanceRunning:
		p.signed = false
		return refuse("it is " + string(i.State))
	case !i.ManagedBy(reg.UUID):
		return refuse("it does not bear this registry's tag")
	case p.document.PendingTime.Before(i.LaunchTime.Add(-startSlack)):
		p.signed = false
		return refuse("its document is of an earlier start")
	}
	if p.by, err = s.token(ctx, c, r.JoinToken, e, *i); err != nil {
		return p, err
	}
	return p, nil
}

// signed verifies the document, by the certificates of the Region in which the instance is expected: that of its lease or, while it
// has none, each that is swept.
func (s *Server) signed(c caller, r wire.EnrolRequest, l lease.Lease, p *proof) (*describer, error) {
	var refused error = &lease.UnprovedError{ID: c.id, Why: "its lease is in no location that is swept"}
	for _, cloud := range s.clouds {
		at := cloud.Location()
		if l.InstanceID != "" && at != l.Location() {
			continue
		}
		d, err := s.cfg.Certificates.Verify(at.Region, []byte(r.Document))
		refusal, _ := errors.AsType[*identity.RefusedError](err)
		switch {
		case refusal != nil && refusal.Why == identity.RefusedCertificate && l.InstanceID != "":
			return cloud, &unsureError{&lease.UncheckedError{ID: c.id, Why: err.Error(), After: lease.Duration(time.Minute)}}
		case err != nil:
			refused = &lease.UnprovedError{ID: c.id, Why: err.Error()}
		case d.Account != at.Account:
			refused = &lease.UnprovedError{ID: c.id, Why: "its document is of an account that is not swept"}
		case d.InstanceID != c.id:
			return nil, &lease.UnprovedError{ID: c.id, Why: "its document is of another instance"}
		default:
			p.document, p.signed = d, true
			return cloud, nil
		}
	}
	return nil, refused
}

// unsureError says that it is our own fault that a document cannot be verified.
type unsureError struct{ *lease.UncheckedError }

func (e *unsureError) Unwrap() error { return e.UncheckedError }

// unsure looks for a sign of life where no document can be verified: a call from the instance's own address.
func (s *Server) unsure(ctx context.Context, cloud *describer, c caller, why error) (p proof, err error) {
	i, err := s.describe(ctx, cloud, c, p)
	p.signed = err == nil && i != nil && i.State == lease.InstanceRunning && slices.Contains(i.Addresses, c.Addr.Unmap().String())
	return p, why
}

// describe asks EC2 about the instance; nil if EC2 surely does not know it.
func (s *Server) describe(ctx context.Context, cloud *describer, c caller, p proof) (*lease.Instance, error) {
	i, known, err := cloud.describe(ctx, c.id)
	if err != nil {
		return nil, &lease.UncheckedError{ID: c.id, Why: "EC2 gives no answer", After: lease.Duration(2 * unknownPause)}
	}
	if known {
		return &i, nil
	}
	if s.cfg.Now().Sub(p.document.PendingTime) < unknownMax {
		return nil, &lease.UncheckedError{ID: c.id, Why: "EC2 does not know it yet", After: lease.Duration(unknownPause)}
	}
	return nil, nil
}

// token says by what the caller is let in, beside the document: that is no secret on the instance. An instance that has no token of a
// launch, and was let in once, is let in again at its own address: after a reboot it has another key, and an operator's token is
// good for one.
func (s *Server) token(ctx context.Context, c caller, token string, e lease.Enrolment, i lease.Instance) (lease.Proof, error) {
	refuse := func(why string) (lease.Proof, error) { return "", &lease.UnprovedError{ID: c.id, Why: why} }
	if token != "" && e.Invites(s.cfg.Now(), token) {
		return lease.ProofInvitation, nil
	}
	a, ours, err := s.attempt(ctx, i)
	if err != nil {
		return "", unread(err)
	}
	joins, atHome := ours && a.Joins(), slices.Contains(i.Addresses, c.Addr.Unmap().String())
	switch {
	case token != "" && ours && a.Admits(token):
		return lease.ProofLaunch, nil
	case !joins && atHome && slices.ContainsFunc(e.Keys, func(k lease.EnrolledKey) bool { return k.Proof != lease.ProofLaunch }):
		return lease.ProofAddress, nil
	case token != "":
		return refuse("its join token is not the one that it was given; an operator can give it another")
	case joins:
		return refuse("it shows no join token; it was launched with one in its user-data")
	case s.cfg.Now().Sub(i.LaunchTime) > youngMax:
		return refuse("it shows no join token, and has run for more than 15 minutes; an operator can give it one")
	case !atHome:
		return refuse("it shows no join token, and calls from an address that is not its own")
	}
	return lease.ProofAddress, nil
}

// more says whether the caller shows more than the document, as far as is known before EC2 is asked: a token that the instance was
// given, or the address in its document.
func (s *Server) more(ctx context.Context, c caller, token string, e lease.Enrolment, l lease.Lease, d identity.Document) (bool, error) {
	if d.PrivateIP == c.Addr.Unmap().String() || token != "" && e.Invites(s.cfg.Now(), token) {
		return true, nil
	}
	if token == "" || l.Launch == "" {
		return false, nil
	}
	launch, err := s.cfg.Store.Launch(ctx, l.Launch)
	if _, none := errors.AsType[*lease.NotFoundError](err); none {
		return false, nil
	}
	a, ours := launch.Attempt(l.ClientToken)
	return ours && a.Admits(token), err
}

// attempt is the one that made the instance, if a launch of this registry did.
func (s *Server) attempt(ctx context.Context, i lease.Instance) (lease.Attempt, bool, error) {
	at := strings.LastIndexByte(i.Tags[lease.TagLaunch], '.')
	if at < 0 {
		return lease.Attempt{}, false, nil
	}
	launch, err := s.cfg.Store.Launch(ctx, i.Tags[lease.TagLaunch][:at])
	if _, none := errors.AsType[*lease.NotFoundError](err); none {
		return lease.Attempt{}, false, nil
	}
	if err != nil {
		return lease.Attempt{}, false, err
	}
	a, ours := launch.Member(i)
	return a, ours, nil
}
