package etcdsim

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// checkRange refuses what etcd's front refuses, and what nobody here asks for.
func checkRange(r *pb.RangeRequest) error {
	return check(r.Key, r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0)
}

// readable refuses a revision that is gone or yet to come.
func (s *store) readable(revision int64) error {
	switch {
	case revision > s.revision:
		return rpctypes.ErrGRPCFutureRev
	case revision > 0 && revision < s.compacted:
		return rpctypes.ErrGRPCCompacted
	}
	return nil
}

// read answers a range request whose revision is readable.
func (c *Cluster) read(r *pb.RangeRequest) *pb.RangeResponse {
	resp := &pb.RangeResponse{Header: c.header()}
	if len(c.store.open.deeds) > 0 {
		resp.Header.Revision++ // within a transaction that has written
	}
	plain := r.SortOrder == pb.RangeRequest_NONE || r.SortTarget == pb.RangeRequest_KEY && r.SortOrder == pb.RangeRequest_ASCEND
	plain = plain && r.MaxCreateRevision == 0
	items := c.store.span(r.Key, r.RangeEnd)
	if !r.CountOnly {
		room := len(items)
		if plain && r.Limit > 0 {
			room = min(room-1, int(r.Limit)) + 1
		}
		resp.Kvs = make([]*mvccpb.KeyValue, 0, room)
	}
	for _, it := range items {
		kv := it.now()
		if r.Revision > 0 {
			kv = it.at(r.Revision)
		}
		if kv == nil {
			continue
		}
		resp.Count++
		if r.CountOnly || plain && r.Limit > 0 && len(resp.Kvs) > int(r.Limit) {
			continue // one more than wanted is found, and sorted with the others, as by etcd's executeRange
		}
		if r.MaxCreateRevision == 0 || kv.CreateRevision <= r.MaxCreateRevision {
			resp.Kvs = append(resp.Kvs, kv)
		}
	}
	order(r, resp.Kvs)
	if r.Limit > 0 && len(resp.Kvs) > int(r.Limit) {
		resp.Kvs, resp.More = resp.Kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for i, kv := range resp.Kvs {
			resp.Kvs[i] = bare(kv, r.SortTarget != pb.RangeRequest_VALUE)
		}
	}
	return resp
}

// order sorts what was found in the order of keys.
func order(r *pb.RangeRequest, kvs []*mvccpb.KeyValue) {
	if r.SortTarget == pb.RangeRequest_KEY && r.SortOrder != pb.RangeRequest_DESCEND {
		return
	}
	slices.SortStableFunc(kvs, func(a, b *mvccpb.KeyValue) int {
		if r.SortOrder == pb.RangeRequest_DESCEND {
			a, b = b, a
		}
		switch r.SortTarget {
		case pb.RangeRequest_VERSION:
			return cmp.Compare(a.Version, b.Version)
		case pb.RangeRequest_CREATE:
			return cmp.Compare(a.CreateRevision, b.CreateRevision)
		case pb.RangeRequest_MOD:
			return cmp.Compare(a.ModRevision, b.ModRevision)
		case pb.RangeRequest_VALUE:
			return bytes.Compare(a.Value, b.Value)
		default:
			return bytes.Compare(a.Key, b.Key)
		}
	})
}

// bare is a key without its value. Like etcd 3.7, which answers from its index where it can, it tells no etcd lease then.
func bare(kv *mvccpb.KeyValue, indexed bool) *mvccpb.KeyValue {
	key := &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
	if !indexed {
		key.Lease = kv.Lease
	}
	return key
}
