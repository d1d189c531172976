package leasetest

import (
	"context"
	"encoding/json"
	"time"

	"lapse/lease"
)

// grant keeps a heartbeat, as an etcd lease does.
type grant struct {
	heartbeatTimeout time.Duration
	timer            *time.Timer
}

// Claim makes hb the heartbeat of its instance.
func (s *Store) Claim(ctx context.Context, hb lease.Heartbeat) (lease.Claim, error) {
	if err := s.begin(ctx, "Claim"); err != nil {
		return lease.Claim{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.mayHeartbeat(hb.InstanceID); isState(err) {
		return lease.Claim{}, err
	}
	return s.attach(hb, s.grant(hb.HeartbeatTimeout))
}

// Renew keeps the claim's key alive for another timeout, and reads the lease.
func (s *Store) Renew(ctx context.Context, claim lease.Claim, hb lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	if err := s.begin(ctx, "Renew"); err != nil {
		return claim, lease.Lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := claim.Heartbeat.InstanceID
	k := key{"heartbeat", id}
	e := s.entries[k]
	kept := s.grants[claim.Handle]
	if kept == nil || e.handle != claim.Handle {
		by, _ := readHeartbeat(id, e)
		return claim, lease.Lease{}, &lease.ClaimLostError{ID: id, By: by.BootID}
	}
	kept.timer.Reset(kept.heartbeatTimeout)
	claim.Revision = e.modified
	l, problem := s.mayHeartbeat(id)
	if isState(problem) {
		return claim, l, problem
	}
	handle := claim.Handle
	if hb.HeartbeatTimeout = orDefault(hb.HeartbeatTimeout); hb.HeartbeatTimeout != claim.Heartbeat.HeartbeatTimeout {
		handle = s.grant(hb.HeartbeatTimeout)
	}
	hb.Schema, hb.Created, hb.Held = claim.Heartbeat.Schema, claim.Heartbeat.Created, claim.Heartbeat.Held
	if hb == claim.Heartbeat {
		return claim, l, problem
	}
	next, err := s.attach(hb, handle)
	if err != nil {
		return claim, l, err
	}
	if handle != claim.Handle {
		s.lapse(claim.Handle)
	}
	return next, l, problem
}

// mayHeartbeat reads the lease of an instance; zero if there is none. The error is a [lease.StateError] if the lease
// was revoked, and another if it cannot be read. s.mu is held.
func (s *Store) mayHeartbeat(id string) (lease.Lease, error) {
	if _, found := s.entries[key{"lease", id}]; !found {
		return lease.Lease{}, nil
	}
	l, err := get(s, leases(), id)
	if err != nil {
		return lease.Lease{}, err
	}
	if l.Live() {
		return l, nil
	}
	since := l.EndedAt
	if l.State == lease.StateRevoked {
		since = l.RevokedAt
	}
	return l, &lease.StateError{ID: id, Verb: "renew", State: l.State, Cause: l.Cause, Since: since}
}

func isState(err error) bool {
	_, is := err.(*lease.StateError) //nolint:errorlint // as mayBeat returns it
	return is
}

// attach writes hb, kept by handle. s.mu is held.
func (s *Store) attach(hb lease.Heartbeat, handle int64) (lease.Claim, error) {
	hb.Schema, hb.HeartbeatTimeout = lease.Schema, orDefault(hb.HeartbeatTimeout)
	data, err := json.Marshal(hb)
	if err != nil {
		return lease.Claim{}, err
	}
	k := key{"heartbeat", hb.InstanceID}
	revision := s.set(k, data, handle)
	hb.Held, hb.Created = true, s.entries[k].created
	return lease.Claim{Heartbeat: hb, Handle: handle, Revision: revision}, nil
}

// grant starts what keeps a heartbeat for ttl. s.mu is held.
func (s *Store) grant(timeout lease.Duration) int64 {
	s.handles++
	handle := s.handles
	lifetime := time.Duration(orDefault(timeout))
	s.grants[handle] = &grant{heartbeatTimeout: lifetime, timer: time.AfterFunc(lifetime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lapse(handle)
	})}
	return handle
}

// lapse ends a grant, and the heartbeats attached to it. s.mu is held.
func (s *Store) lapse(handle int64) {
	kept := s.grants[handle]
	if kept == nil {
		return
	}
	kept.timer.Stop()
	delete(s.grants, handle)
	for k, e := range s.entries {
		if k.kind == "heartbeat" && e.handle == handle {
			s.unset(k)
		}
	}
}

// Lapse makes the heartbeat of an instance expire now.
func (s *Store) Lapse(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lapse(s.entries[key{"heartbeat", id}].handle)
}

func orDefault(timeout lease.Duration) lease.Duration {
	if timeout == 0 {
		return lease.Duration(lease.DefaultHeartbeatTimeout)
	}
	return timeout
}

// readHeartbeat decodes a heartbeat.
func readHeartbeat(id string, e entry) (lease.Heartbeat, error) {
	hb, err := lease.Decode[lease.Heartbeat]("heartbeat", id, e.data)
	if err == nil && hb.InstanceID != id {
		err = &lease.MalformedError{Kind: "heartbeat", ID: id, Err: &lease.NotFoundError{Kind: "heartbeat", ID: hb.InstanceID}}
	}
	hb.Created, hb.Held = e.created, e.handle != 0
	return hb, err
}
