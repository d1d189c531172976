package etcd

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// bindBatch is how many leases one transaction binds: etcd takes at most 128 operations, and the launch is one.
const bindBatch = 100

// Bind creates the leases of instances that launch made, in the order given. Each write compares the launch, so that
// none comes to be after it was closed. A lease that is already there is returned as it stands, whatever its state, and
// is no error; neither is a launch that somebody else moved on in between, as long as it is open or nothing is left to
// be bound. Some leases may have been bound when an error is returned.
//
// Errors: [lease.LaunchStateError], [lease.NotFoundError] for the launch, and [lease.SchemaError] or
// [lease.MalformedError] for a lease that is there and cannot be read.
func (s *Store) Bind(ctx context.Context, launch lease.Launch, leases []lease.Lease) ([]lease.Lease, error) {
	bound := make([]lease.Lease, 0, len(leases))
	if launch.Revision == 0 {
		return bound, &lease.NotFoundError{Kind: "launch", ID: launch.Token}
	}
	for batch := range slices.Chunk(leases, bindBatch) {
		var done []lease.Lease
		var err error
		if launch, done, err = s.bind(ctx, launch, batch); err != nil {
			return bound, fmt.Errorf("bind instances of launch %s: %w", launch.Token, err)
		}
		bound = append(bound, done...)
	}
	return bound, nil
}

// bind binds one batch, and returns the launch as last read.
func (s *Store) bind(ctx context.Context, launch lease.Launch, batch []lease.Lease) (lease.Launch, []lease.Lease, error) {
	batch = slices.Clone(batch)
	missing := make([]bool, len(batch)) // not known to be there
	for i := range missing {
		missing[i] = true
	}
	for {
		resp, err := s.tryBind(ctx, launch, batch, missing)
		if err != nil {
			return launch, nil, err
		}
		if resp.Succeeded && launch.State == lease.LaunchOpen {
			for i := range batch {
				if missing[i] {
					batch[i].Revision = resp.Header.Revision
				}
			}
			return launch, batch, nil
		}
		left, err := s.alreadyBound(resp, batch, missing)
		if err != nil || !left {
			return launch, batch, err
		}
		if launch, err = s.stillOpen(resp, launch.Token); err != nil {
			return launch, nil, err
		}
	}
}

// tryBind creates the missing leases in one transaction, or else reads the launch and all of the batch. For a launch
// that is not open it only reads.
func (s *Store) tryBind(ctx context.Context, launch lease.Launch, batch []lease.Lease, missing []bool) (*clientv3.TxnResponse, error) {
	key := s.launches.key(launch.Token)
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", launch.Revision)}
	gets := []clientv3.Op{clientv3.OpGet(key)}
	var puts []clientv3.Op
	for i, l := range batch {
		key := s.leases.key(l.InstanceID)
		gets = append(gets, clientv3.OpGet(key))
		if !missing[i] {
			continue
		}
		data, err := s.leases.encode(l)
		if err != nil {
			return nil, err
		}
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		puts = append(puts, clientv3.OpPut(key, data))
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	txn := s.client.Txn(ctx)
	if launch.State != lease.LaunchOpen {
		return txn.Then(gets...).Commit()
	}
	return txn.If(cmps...).Then(puts...).Else(gets...).Commit()
}

// alreadyBound takes the leases that are there over into batch, and reports whether any is missing.
func (s *Store) alreadyBound(resp *clientv3.TxnResponse, batch []lease.Lease, missing []bool) (left bool, err error) {
	for i, l := range batch {
		kv := got(resp, i+1)
		missing[i] = kv == nil
		if missing[i] {
			left = true
		} else if batch[i], err = s.leases.read(l.InstanceID, kv); err != nil {
			return left, err
		}
	}
	return left, nil
}

// stillOpen reads the launch from a transaction's answer and refuses one to which nothing more may be bound.
func (s *Store) stillOpen(resp *clientv3.TxnResponse, token string) (lease.Launch, error) {
	kv := got(resp, 0)
	if kv == nil {
		return lease.Launch{Token: token}, &lease.NotFoundError{Kind: "launch", ID: token}
	}
	launch, err := s.launches.read(token, kv)
	if err != nil {
		return lease.Launch{Token: token}, err
	}
	if launch.State != lease.LaunchOpen {
		return launch, &lease.LaunchStateError{
			Token: token, Verb: "bind instances of", State: launch.State, Since: launch.SettledAt, Reason: launch.Reason,
		}
	}
	return launch, nil
}
