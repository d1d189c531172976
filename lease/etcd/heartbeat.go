package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// dropTimeout bounds the revocation of an etcd lease that serves nothing. Left alone it runs out by itself.
const dropTimeout = time.Second

// Claim makes hb the heartbeat of its instance, kept by a new etcd lease of hb's timeout ([lease.DefaultHeartbeatTimeout] if it has
// none). An instance that has no lease yet may renew, and so may one whose lease cannot be read; one whose lease was
// revoked may not. A claim that etcd gets to late changes nothing if anybody claimed, renewed or revoked since.
//
// Errors: [lease.StateError]; [lease.ConflictError] if somebody else claimed at the same time.
func (s *Store) Claim(ctx context.Context, hb lease.Heartbeat) (lease.Claim, error) {
	seen, err := s.look(ctx, hb.InstanceID)
	if err != nil {
		return lease.Claim{}, err
	}
	claim, _, err := s.attach(ctx, hb, seen)
	return claim, err
}

// pulse is the heartbeat key and the lease of an instance, at one revision.
type pulse struct {
	heartbeat *mvccpb.KeyValue // nil if there is no heartbeat key
	record    *mvccpb.KeyValue // nil if there is no lease
	lease     lease.Lease      // zero if there is none, or none that can be read
	problem   error            // why the lease cannot be read
}

func (s *Store) look(ctx context.Context, id string) (pulse, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).Then(s.pulseGets(id)...).Commit()
	if err != nil {
		return pulse{}, fmt.Errorf("read the heartbeat of %s: %w", id, err)
	}
	return s.pulseOf(id, resp), nil
}

func (s *Store) pulseGets(id string) []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(s.Key("heartbeat", id)), clientv3.OpGet(s.leases.key(id))}
}

func (s *Store) pulseOf(id string, resp *clientv3.TxnResponse) pulse {
	p := pulse{heartbeat: got(resp, 0), record: got(resp, 1)}
	if p.record != nil {
		if l, err := s.leases.read(id, p.record); err != nil {
			p.problem = err
		} else {
			p.lease = l
		}
	}
	return p
}

// mayRenew refuses an instance whose lease was revoked. An instance without a lease, or with one that cannot be read, may renew.
func (p pulse) mayRenew() error {
	return p.lease.Renewable("renew")
}

// attach writes hb, on a new etcd lease, over the heartbeat key that was seen. It returns what it saw last.
func (s *Store) attach(ctx context.Context, hb lease.Heartbeat, seen pulse) (lease.Claim, pulse, error) {
	if err := seen.mayRenew(); err != nil {
		return lease.Claim{}, seen, err
	}
	hb.HeartbeatTimeout = cmp.Or(hb.HeartbeatTimeout, lease.Duration(lease.DefaultHeartbeatTimeout))
	etcdLease, err := s.grant(ctx, time.Duration(hb.HeartbeatTimeout))
	if err != nil {
		return lease.Claim{}, seen, fmt.Errorf("claim the heartbeat of %s: %w", hb.InstanceID, err)
	}
	claim, seen, err := s.heartbeat(ctx, hb, etcdLease, seen)
	if refused(err) {
		s.drop(ctx, etcdLease)
	}
	return claim, seen, err
}

// refused reports whether etcd has answered that a heartbeat was not written. Without that answer the key may hang on its new etcd
// lease, which a replica of the API may have renewed since: revoking it would delete the heartbeat of an instance that renews.
func refused(err error) bool {
	_, conflict := errors.AsType[*lease.ConflictError](err)
	_, over := errors.AsType[*lease.StateError](err)
	return conflict || over
}

// heartbeat writes hb on an etcd lease if the heartbeat key is still the one seen. A lease record that changed since is
// read again; a heartbeat that changed since is somebody else's. It returns what it saw last.
func (s *Store) heartbeat(ctx context.Context, hb lease.Heartbeat, etcdLease clientv3.LeaseID, seen pulse) (lease.Claim, pulse, error) {
	hb.Schema = lease.Schema
	data, err := json.Marshal(hb)
	if err != nil {
		return lease.Claim{}, seen, fmt.Errorf("encode the heartbeat of %s: %w", hb.InstanceID, err)
	}
	for {
		resp, err := s.tryHeartbeat(ctx, hb.InstanceID, string(data), etcdLease, seen)
		if err != nil {
			return lease.Claim{}, seen, fmt.Errorf("write the heartbeat of %s: %w", hb.InstanceID, err)
		}
		if resp.Succeeded {
			hb.Held, hb.Created = true, seen.heartbeat.GetCreateRevision()
			if seen.heartbeat == nil {
				hb.Created = resp.Header.Revision
			}
			return lease.Claim{Heartbeat: hb, Handle: int64(etcdLease), Revision: resp.Header.Revision}, seen, nil
		}
		before := seen
		seen = s.pulseOf(hb.InstanceID, resp)
		if err := seen.mayRenew(); err != nil {
			return lease.Claim{}, seen, err
		}
		if seen.heartbeat.GetModRevision() != before.heartbeat.GetModRevision() {
			return lease.Claim{}, seen, &lease.ConflictError{Kind: "heartbeat", ID: hb.InstanceID}
		}
	}
}

func (s *Store) tryHeartbeat(ctx context.Context, id, data string, etcdLease clientv3.LeaseID, seen pulse) (*clientv3.TxnResponse, error) {
	key := s.Key("heartbeat", id)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.client.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(key), "=", seen.heartbeat.GetModRevision()),
		clientv3.Compare(clientv3.ModRevision(s.leases.key(id)), "=", seen.record.GetModRevision()),
	).Then(
		clientv3.OpPut(key, data, clientv3.WithLease(etcdLease)),
	).Else(
		s.pulseGets(id)...,
	).Commit()
}

// grant makes an etcd lease; etcd counts in whole seconds, so the TTL is rounded up.
func (s *Store) grant(ctx context.Context, timeout time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	resp, err := s.client.Grant(ctx, int64((timeout+time.Second-1)/time.Second))
	if err != nil {
		return 0, err
	}
	return resp.ID, nil
}

// drop revokes an etcd lease, also after ctx ended. Whatever hangs on it goes; if it fails the etcd lease runs out.
func (s *Store) drop(ctx context.Context, etcdLease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if _, err := s.client.Revoke(ctx, etcdLease); err != nil {
		s.log.DebugContext(ctx, "left an etcd lease to expire", "etcd_lease", int64(etcdLease), "error", err)
	}
}

// readHeartbeat decodes a heartbeat key.
func readHeartbeat(id string, kv *mvccpb.KeyValue) (lease.Heartbeat, error) {
	hb, err := lease.Decode[lease.Heartbeat]("heartbeat", id, kv.GetValue())
	if err != nil {
		return hb, err
	}
	if hb.InstanceID != id {
		return hb, &lease.MalformedError{Kind: "heartbeat", ID: id, Err: fmt.Errorf("it names itself %q", hb.InstanceID)}
	}
	hb.Created, hb.Held = kv.GetCreateRevision(), kv.GetLease() != int64(clientv3.NoLease)
	return hb, nil
}
