package etcd

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

const (
	// searchMax is how many leases [Store.Members] searches at most. Each sidecar in direct mode may ask for it.
	searchMax  = 10_000
	searchPage = 500 // leases in one answer: a sidecar has little memory
	// pulseBatch is of how many instances one transaction reads lease and heartbeat: etcd takes at most 128 operations.
	pulseBatch = 64
)

// Members are the instances with a lease of a launch, found by searching all leases: for those who may not read the launch,
// as sidecars may not.
//
// Errors: [lease.LimitError] if there are more than 10,000 leases to search.
func (s *Store) Members(ctx context.Context, launch string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.ListTimeout)
	defer cancel()
	from, end := s.root+dirLeases, clientv3.GetPrefixRangeEnd(s.root+dirLeases)
	var ids []string
	for revision := int64(0); ; {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(min(s.options.PageSize, searchPage)), clientv3.WithRev(revision))
		if err != nil {
			return nil, fmt.Errorf("search the leases of launch %s: %w", launch, err)
		}
		if revision == 0 && resp.Count > searchMax {
			return nil, &lease.LimitError{
				What: fmt.Sprintf("a registry of %d leases", resp.Count), Why: fmt.Sprintf("must be asked through the API: without it, at most %d are searched", searchMax),
			}
		}
		revision = resp.Header.Revision
		for _, kv := range resp.Kvs {
			_, id := s.parse(string(kv.GetKey()))
			if !bytes.Contains(kv.GetValue(), []byte(launch)) { // most are of other launches, and decoding costs far more
				continue
			}
			if l, err := s.leases.read(id, kv); err == nil && l.Launch == launch {
				ids = append(ids, id)
			}
		}
		if !resp.More {
			return ids, nil
		}
		from = after(resp.Kvs)
	}
}

// Renewals reads the leases of instances, and the heartbeats of those that have one. What is not there, or cannot be read, is
// absent from the answer. Lease and heartbeat of one instance are of one revision.
func (s *Store) Renewals(ctx context.Context, ids []string) ([]lease.Lease, map[string]lease.Heartbeat, error) {
	leases, heartbeats := make([]lease.Lease, 0, len(ids)), make(map[string]lease.Heartbeat, len(ids))
	for batch := range slices.Chunk(ids, pulseBatch) {
		resp, err := s.lookAt(ctx, batch)
		if err != nil {
			return nil, nil, fmt.Errorf("read the heartbeats of %d instances: %w", len(ids), err)
		}
		for n, id := range batch {
			heartbeat, record := got(resp, 2*n), got(resp, 2*n+1)
			if record == nil {
				continue
			}
			if l, err := s.leases.read(id, record); err == nil {
				leases = append(leases, l)
			}
			if hb, err := readHeartbeat(id, heartbeat); heartbeat != nil && err == nil {
				heartbeats[id] = hb
			}
		}
	}
	return leases, heartbeats, nil
}

func (s *Store) lookAt(ctx context.Context, ids []string) (*clientv3.TxnResponse, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	gets := make([]clientv3.Op, 0, 2*len(ids))
	for _, id := range ids {
		gets = append(gets, s.pulseGets(id)...)
	}
	return s.client.Txn(ctx).Then(gets...).Commit()
}
