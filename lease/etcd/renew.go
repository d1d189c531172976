package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// Renew keeps the claim's key alive for another timeout and reads the lease: zero if the instance has none yet. If hb says
// anything else than the key does, the key is rewritten; if it has another timeout, the key moves to a new etcd lease. Keep
// the claim that is returned, also beside an error, and call Renew with it again, unless the claim is lost.
//
// Errors: [lease.ClaimLostError] if the key expired or somebody else's is in its place: claim again, or stop;
// [lease.StateError] if the lease was taken away, with the lease beside it; [lease.SchemaError] or
// [lease.MalformedError] if the lease cannot be read: the renewal holds nevertheless.
func (s *Store) Renew(ctx context.Context, claim lease.Claim, hb lease.Heartbeat) (lease.Claim, lease.Lease, error) {
	id := claim.Heartbeat.InstanceID
	if err := s.keepAlive(ctx, claim); err != nil {
		return claim, lease.Lease{}, err
	}
	seen, err := s.look(ctx, id)
	if err != nil {
		return claim, lease.Lease{}, err
	}
	if seen.heartbeat.GetLease() != claim.Handle {
		return claim, seen.lease, lost(id, seen.heartbeat)
	}
	if at := seen.heartbeat.GetModRevision(); at != claim.Revision {
		// The key is not as it was written last: etcd was set back. What it says now is told from what it shall say, so that
		// the later changes that this machine has seen are told again, and the etcd lease has the right TTL again. One that
		// cannot be read says nothing.
		says, _ := readHeartbeat(id, seen.heartbeat)
		says.InstanceID = id
		claim.Revision, claim.Heartbeat = at, says
	}
	if err := seen.mayRenew(); err != nil {
		return claim, seen.lease, err
	}
	next, seen, err := s.rewrite(ctx, claim, hb, seen)
	var conflict *lease.ConflictError
	switch {
	case errors.As(err, &conflict) || errors.Is(err, rpctypes.ErrLeaseNotFound):
		return claim, seen.lease, lost(id, seen.heartbeat)
	case err != nil:
		return claim, seen.lease, err
	}
	return next, seen.lease, seen.problem
}

// Resume is the claim of the heartbeat that a boot of an instance has made, for whoever renews it without remembering; of whichever
// boot, if none is given.
//
// Errors: [lease.ClaimLostError] if the key expired, or is another boot's.
func (s *Store) Resume(ctx context.Context, id, boot string) (lease.Claim, error) {
	seen, err := s.look(ctx, id)
	if err != nil {
		return lease.Claim{}, err
	}
	hb, err := readHeartbeat(id, seen.heartbeat)
	if seen.heartbeat == nil || err != nil || boot != "" && hb.BootID != boot || !hb.Held {
		return lease.Claim{}, lost(id, seen.heartbeat)
	}
	return lease.Claim{Heartbeat: hb, Handle: seen.heartbeat.GetLease(), Revision: seen.heartbeat.GetModRevision()}, nil
}

// keepAlive asks etcd once to prolong the claim's etcd lease.
func (s *Store) keepAlive(ctx context.Context, claim lease.Claim) error {
	id := claim.Heartbeat.InstanceID
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	_, err := s.client.KeepAliveOnce(bounded, clientv3.LeaseID(claim.Handle))
	if err == nil {
		return nil
	}
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("renew the heartbeat of %s: %w", id, err)
	}
	seen, err := s.look(ctx, id)
	if err != nil {
		s.log.DebugContext(ctx, "cannot see who renews", "instance_id", id, "error", err)
	}
	return lost(id, seen.heartbeat)
}

// rewrite makes the key say what hb says, if it does not, and returns what it saw last.
func (s *Store) rewrite(ctx context.Context, claim lease.Claim, hb lease.Heartbeat, seen pulse) (lease.Claim, pulse, error) {
	hb.HeartbeatTimeout = cmp.Or(hb.HeartbeatTimeout, lease.Duration(lease.DefaultHeartbeatTimeout))
	if hb.HeartbeatTimeout != claim.Heartbeat.HeartbeatTimeout {
		next, seen, err := s.attach(ctx, hb, seen)
		if err == nil {
			s.drop(ctx, clientv3.LeaseID(claim.Handle))
		}
		return next, seen, err
	}
	hb.Schema, hb.Held, hb.Created = claim.Heartbeat.Schema, claim.Heartbeat.Held, claim.Heartbeat.Created
	if hb.Since.Equal(claim.Heartbeat.Since) {
		hb.Since = claim.Heartbeat.Since
	}
	if hb == claim.Heartbeat {
		return claim, seen, nil
	}
	return s.heartbeat(ctx, hb, clientv3.LeaseID(claim.Handle), seen)
}

// lost says that the key is not the claim's, and whose it is, as far as the key can be read.
func lost(id string, heartbeat *mvccpb.KeyValue) error {
	gone := &lease.ClaimLostError{ID: id}
	if heartbeat != nil {
		if hb, err := readHeartbeat(id, heartbeat); err == nil {
			gone.By = hb.BootID
		}
	}
	return gone
}
