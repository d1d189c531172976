package etcdsim

import (
	"bytes"
	"cmp"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const maxTxnOps = 128 // etcd's default

// checkPut refuses what etcd's front refuses, and what nobody here asks for.
func checkPut(r *pb.PutRequest) error {
	return check(r.Key, r.PrevKv || r.IgnoreValue || r.IgnoreLease)
}

func checkDelete(r *pb.DeleteRangeRequest) error { return check(r.Key, r.PrevKv) }

func check(key []byte, unsupported bool) error {
	switch {
	case len(key) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case unsupported:
		return status.Error(codes.Unimplemented, "etcdsim: no such option")
	}
	return nil
}

func checkTxn(r *pb.TxnRequest) error {
	if max(len(r.Compare), len(r.Success), len(r.Failure)) > maxTxnOps {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, ops := range [2][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if err := checkOp(op); err != nil {
				return err
			}
		}
	}
	for _, ops := range [2][]*pb.RequestOp{r.Success, r.Failure} {
		if err := checkOverlap(ops); err != nil {
			return err
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp) error {
	switch op := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return checkRange(op.RequestRange)
	case *pb.RequestOp_RequestPut:
		return checkPut(op.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return checkDelete(op.RequestDeleteRange)
	}
	return status.Error(codes.Unimplemented, "etcdsim: no nested transactions")
}

// checkOverlap refuses to put a key twice, or beside its deletion. As in etcd, a deletion of all that follows a key is
// overlooked.
func checkOverlap(ops []*pb.RequestOp) error {
	for i, op := range ops {
		put := op.GetRequestPut()
		if put == nil {
			continue
		}
		for j, other := range ops {
			twice := j < i && other.GetRequestPut() != nil && bytes.Equal(other.GetRequestPut().Key, put.Key)
			if del := other.GetRequestDeleteRange(); twice || del != nil && overlaps(put.Key, del) {
				return rpctypes.ErrGRPCDuplicateKey
			}
		}
	}
	return nil
}

func overlaps(key []byte, del *pb.DeleteRangeRequest) bool {
	return !bytes.Equal(del.RangeEnd, []byte{0}) && within(key, del.Key, del.RangeEnd)
}

// within reports whether a key is in a range, as etcd writes it.
func within(key, from, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(key, from)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(key, from) >= 0
	}
	return bytes.Compare(key, from) >= 0 && bytes.Compare(key, end) < 0
}

// effects reports whether a transaction may change anything, and puts whether it may put.
func effects(r *pb.TxnRequest) (writes, puts bool) {
	for _, ops := range [2][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			switch op.Request.(type) {
			case *pb.RequestOp_RequestPut:
				writes, puts = true, true
			case *pb.RequestOp_RequestDeleteRange:
				writes = true
			}
		}
	}
	return writes, puts
}

// mayPut refuses what etcd refuses on its way into the store.
func (c *Cluster) mayPut(r *pb.PutRequest) error {
	if r.Lease != 0 && c.leases.held[r.Lease] == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	return nil
}

// put does a put that may be done.
func (c *Cluster) put(r *pb.PutRequest) *pb.PutResponse {
	resp := &pb.PutResponse{Header: c.header()}
	resp.Header.Revision++
	c.leases.move(string(r.Key), c.store.get(r.Key).GetLease(), r.Lease)
	c.store.put(r.Key, r.Value, r.Lease)
	return resp
}

func (c *Cluster) remove(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	resp := &pb.DeleteRangeResponse{Header: c.header()}
	for _, it := range c.store.span(r.Key, r.RangeEnd) {
		kv := it.now()
		if kv == nil {
			continue
		}
		resp.Deleted++
		c.leases.move(it.key, kv.Lease, 0)
		c.store.remove(it)
	}
	if len(c.store.open.deeds) > 0 {
		resp.Header.Revision++
	}
	return resp
}

// txn does a transaction: all of it, or none with an error.
func (c *Cluster) txn(r *pb.TxnRequest, by string) (*pb.TxnResponse, error) {
	resp := &pb.TxnResponse{Succeeded: true}
	for _, condition := range r.Compare {
		if !c.holds(condition) {
			resp.Succeeded = false
			break
		}
	}
	ops := r.Success
	if !resp.Succeeded {
		ops = r.Failure
	}
	for _, op := range ops {
		var err error
		if get := op.GetRequestRange(); get != nil {
			err = c.store.readable(get.Revision)
		} else if put := op.GetRequestPut(); put != nil {
			err = c.mayPut(put)
		}
		if err != nil {
			return nil, err
		}
	}
	resp.Responses = make([]*pb.ResponseOp, len(ops))
	for i, op := range ops {
		resp.Responses[i] = c.do(op)
	}
	c.commit(by)
	resp.Header = c.header()
	return resp, nil
}

// do does one operation of a transaction.
func (c *Cluster) do(op *pb.RequestOp) *pb.ResponseOp {
	switch op := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: c.read(op.RequestRange)}}
	case *pb.RequestOp_RequestPut:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: c.put(op.RequestPut)}}
	case *pb.RequestOp_RequestDeleteRange:
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: c.remove(op.RequestDeleteRange)}}
	}
	return nil
}

// holds reports whether a condition does: for a range, of every key in it. A value is compared only where there is one;
// all else of an absent key is 0.
func (c *Cluster) holds(condition *pb.Compare) bool {
	found := false
	for _, it := range c.store.span(condition.Key, condition.RangeEnd) {
		if kv := it.now(); kv != nil {
			found = true
			if !compare(condition, kv) {
				return false
			}
		}
	}
	return found || condition.Target != pb.Compare_VALUE && compare(condition, nil)
}

func compare(condition *pb.Compare, kv *mvccpb.KeyValue) bool {
	var sign int
	switch condition.Target {
	case pb.Compare_VALUE:
		sign = bytes.Compare(kv.GetValue(), condition.GetValue())
	case pb.Compare_CREATE:
		sign = cmp.Compare(kv.GetCreateRevision(), condition.GetCreateRevision())
	case pb.Compare_MOD:
		sign = cmp.Compare(kv.GetModRevision(), condition.GetModRevision())
	case pb.Compare_VERSION:
		sign = cmp.Compare(kv.GetVersion(), condition.GetVersion())
	case pb.Compare_LEASE:
		sign = cmp.Compare(kv.GetLease(), condition.GetLease())
	}
	switch condition.Result {
	case pb.Compare_NOT_EQUAL:
		return sign != 0
	case pb.Compare_GREATER:
		return sign > 0
	case pb.Compare_LESS:
		return sign < 0
	default:
		return sign == 0
	}
}
