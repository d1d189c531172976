package etcdsim

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Client is one program's connection to a cluster. It is safe for concurrent use.
type Client struct {
	clientv3.KV
	cluster *Cluster
	name    string
	link    Link
	closed  chan struct{}
	closing sync.Once
}

// Client connects a program. The name is told to the observer.
func (c *Cluster) Client(name string, link Link) *Client {
	client := &Client{cluster: c, name: name, link: link, closed: make(chan struct{})}
	client.KV = clientv3.NewKVFromKVClient(remote{client}, nil)
	return client
}

// Close ends the connection, and with it the watches and calls on it; what is on its way to etcd still
// lands. It returns nil.
func (c *Client) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return nil
}

// AlarmList tells whether there is no space left.
func (c *Client) AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "alarms"}, func() (*pb.AlarmResponse, error) {
		resp := &pb.AlarmResponse{Header: c.cluster.header()}
		if c.cluster.noSpace {
			resp.Alarms = []*pb.AlarmMember{{MemberID: memberID, Alarm: pb.AlarmType_NOSPACE}}
		}
		return resp, nil
	})
	return (*clientv3.AlarmResponse)(resp), clientv3.ContextError(ctx, err)
}

// remote is the cluster as clientv3 sends it reads and writes.
type remote struct{ *Client }

// Range implements [pb.KVClient].
func (r remote) Range(ctx context.Context, in *pb.RangeRequest, _ ...grpc.CallOption) (*pb.RangeResponse, error) {
	return call(ctx, r.Client, Op{Kind: "get", Key: string(in.Key)}, func() (*pb.RangeResponse, error) {
		if err := checkRange(in); err != nil {
			return nil, err
		}
		if err := r.cluster.store.readable(in.Revision); err != nil {
			return nil, err
		}
		return r.cluster.read(in), nil
	})
}

// RangeStream implements [pb.KVClient], and is not supported.
func (r remote) RangeStream(
	context.Context, *pb.RangeRequest, ...grpc.CallOption,
) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return nil, status.Error(codes.Unimplemented, "etcdsim: no range streams")
}

// Put implements [pb.KVClient].
func (r remote) Put(ctx context.Context, in *pb.PutRequest, _ ...grpc.CallOption) (*pb.PutResponse, error) {
	return call(ctx, r.Client, Op{Kind: "put", Key: string(in.Key), Write: true}, func() (*pb.PutResponse, error) {
		if err := checkPut(in); err != nil {
			return nil, err
		}
		if r.cluster.noSpace {
			return nil, rpctypes.ErrGRPCNoSpace
		}
		if err := r.cluster.mayPut(in); err != nil {
			return nil, err
		}
		resp := r.cluster.put(in)
		r.cluster.commit(r.name)
		return resp, nil
	})
}

// DeleteRange implements [pb.KVClient].
func (r remote) DeleteRange(ctx context.Context, in *pb.DeleteRangeRequest, _ ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	return call(ctx, r.Client, Op{Kind: "delete", Key: string(in.Key), Write: true}, func() (*pb.DeleteRangeResponse, error) {
		if err := checkDelete(in); err != nil {
			return nil, err
		}
		resp := r.cluster.remove(in)
		r.cluster.commit(r.name)
		return resp, nil
	})
}

// Txn implements [pb.KVClient].
func (r remote) Txn(ctx context.Context, in *pb.TxnRequest, _ ...grpc.CallOption) (*pb.TxnResponse, error) {
	writes, puts := effects(in)
	return call(ctx, r.Client, Op{Kind: "txn", Key: firstKey(in), Write: writes}, func() (*pb.TxnResponse, error) {
		if err := checkTxn(in); err != nil {
			return nil, err
		}
		if r.cluster.noSpace && puts {
			return nil, rpctypes.ErrGRPCNoSpace
		}
		return r.cluster.txn(in, r.name)
	})
}

// Compact implements [pb.KVClient].
func (r remote) Compact(ctx context.Context, in *pb.CompactionRequest, _ ...grpc.CallOption) (*pb.CompactionResponse, error) {
	return call(ctx, r.Client, Op{Kind: "compact", Write: true}, func() (*pb.CompactionResponse, error) {
		switch store := &r.cluster.store; {
		case in.Revision <= store.compacted:
			return nil, rpctypes.ErrGRPCCompacted
		case in.Revision > store.revision:
			return nil, rpctypes.ErrGRPCFutureRev
		default:
			store.compact(in.Revision)
		}
		return &pb.CompactionResponse{Header: r.cluster.header()}, nil
	})
}

// firstKey is that of the first operation of a transaction, or else of its first condition.
func firstKey(r *pb.TxnRequest) string {
	for _, ops := range [2][]*pb.RequestOp{r.Success, r.Failure} {
		if len(ops) == 0 {
			continue
		}
		switch op := ops[0].Request.(type) {
		case *pb.RequestOp_RequestRange:
			return string(op.RequestRange.Key)
		case *pb.RequestOp_RequestPut:
			return string(op.RequestPut.Key)
		case *pb.RequestOp_RequestDeleteRange:
			return string(op.RequestDeleteRange.Key)
		}
	}
	if len(r.Compare) > 0 {
		return string(r.Compare[0].Key)
	}
	return ""
}
