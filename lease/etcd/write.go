package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// guard is a condition of a write: what etcd compares, how to recognise that it does not hold, and what to say then.
type guard struct {
	cmp   clientv3.Cmp
	look  clientv3.Op                 // what cmp is about, of which there is at most one
	holds func(*mvccpb.KeyValue) bool // of what look finds; nil if there is none
	err   error
}

// atRevision wants the key last written at revision; 0 wants no such key.
func atRevision(key string, revision int64, otherwise error) guard {
	return guard{
		look: clientv3.OpGet(key), cmp: clientv3.Compare(clientv3.ModRevision(key), "=", revision), err: otherwise,
		holds: func(kv *mvccpb.KeyValue) bool { return kv.GetModRevision() == revision },
	}
}

// createdAt wants the key that was created at revision, whatever was written to it since.
func createdAt(key string, revision int64, otherwise error) guard {
	return guard{
		look: clientv3.OpGet(key), cmp: clientv3.Compare(clientv3.CreateRevision(key), "=", revision), err: otherwise,
		holds: func(kv *mvccpb.KeyValue) bool { return kv.GetCreateRevision() == revision },
	}
}

// foremost wants no key under the prefix that was created before revision.
func foremost(prefix string, revision int64, otherwise error) guard {
	return guard{
		look: clientv3.OpGet(prefix, clientv3.WithFirstCreate()...),
		cmp:  clientv3.Compare(clientv3.CreateRevision(prefix), ">", revision-1).WithPrefix(), err: otherwise,
		holds: func(kv *mvccpb.KeyValue) bool { return kv.GetCreateRevision() >= revision },
	}
}

// unheld wants no key that an etcd lease keeps: either none at all, or a ghost.
func unheld(key string, otherwise error) guard {
	return guard{
		look: clientv3.OpGet(key), cmp: clientv3.Compare(clientv3.LeaseValue(key), "=", clientv3.NoLease), err: otherwise,
		holds: func(kv *mvccpb.KeyValue) bool { return kv.GetLease() == int64(clientv3.NoLease) },
	}
}

// write does ops if every guard holds, in one transaction, and returns its revision. Otherwise nothing is written and
// the error is that of the first guard, in their order, that did not hold at that same revision.
func (s *Store) write(ctx context.Context, ops []clientv3.Op, guards ...guard) (int64, error) {
	cmps := make([]clientv3.Cmp, len(guards))
	gets := make([]clientv3.Op, len(guards))
	for i, g := range guards {
		cmps[i], gets[i] = g.cmp, g.look
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Else(gets...).Commit()
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	for i, g := range guards {
		if !g.holds(got(resp, i)) {
			return 0, g.err
		}
	}
	return 0, errors.New("etcd refused a write whose conditions all hold")
}

// got is the key that get number i of a transaction found, or nil.
func got(resp *clientv3.TxnResponse, i int) *mvccpb.KeyValue {
	if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}
