package etcdsim

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Grant implements [clientv3.Lease].
func (c *Client) Grant(ctx context.Context, timeout int64) (*clientv3.LeaseGrantResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "grant", Write: true}, func() (*clientv3.LeaseGrantResponse, error) {
		e, err := c.cluster.grant(timeout)
		if err != nil {
			return nil, err
		}
		return &clientv3.LeaseGrantResponse{ResponseHeader: c.cluster.header(), ID: clientv3.LeaseID(e.id), TTL: e.ttl}, nil
	})
	return resp, clientv3.ContextError(ctx, err)
}

// Revoke implements [clientv3.Lease].
func (c *Client) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "revoke", Write: true}, func() (*pb.LeaseRevokeResponse, error) {
		e := c.cluster.leases.held[int64(id)]
		if e == nil {
			return nil, rpctypes.ErrGRPCLeaseNotFound
		}
		c.cluster.revoke(e, c.name)
		return &pb.LeaseRevokeResponse{Header: c.cluster.header()}, nil
	})
	return (*clientv3.LeaseRevokeResponse)(resp), clientv3.ContextError(ctx, err)
}

// TimeToLive implements [clientv3.Lease]. It tells the keys whether they were asked for or not.
func (c *Client) TimeToLive(ctx context.Context, id clientv3.LeaseID, _ ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "ttl"}, func() (*clientv3.LeaseTimeToLiveResponse, error) {
		resp := &clientv3.LeaseTimeToLiveResponse{ResponseHeader: c.cluster.header(), ID: id, TTL: -1}
		if e := c.cluster.leases.held[int64(id)]; e != nil {
			resp.TTL, resp.GrantedTTL = e.left(), e.ttl
			for _, key := range e.keys {
				resp.Keys = append(resp.Keys, []byte(key))
			}
		}
		return resp, nil
	})
	return resp, clientv3.ContextError(ctx, err)
}

// Leases implements [clientv3.Lease].
func (c *Client) Leases(ctx context.Context) (*clientv3.LeaseLeasesResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "leases"}, func() (*clientv3.LeaseLeasesResponse, error) {
		resp := &clientv3.LeaseLeasesResponse{ResponseHeader: c.cluster.header(), Leases: []clientv3.LeaseStatus{}}
		for _, e := range c.cluster.leases.all() {
			resp.Leases = append(resp.Leases, clientv3.LeaseStatus{ID: clientv3.LeaseID(e.id)})
		}
		return resp, nil
	})
	return resp, clientv3.ContextError(ctx, err)
}

// KeepAliveOnce implements [clientv3.Lease].
func (c *Client) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	resp, err := call(ctx, c, Op{Kind: "keepalive", Write: true}, func() (*clientv3.LeaseKeepAliveResponse, error) {
		resp := &clientv3.LeaseKeepAliveResponse{ResponseHeader: c.cluster.header(), ID: id}
		if e := c.cluster.leases.held[int64(id)]; e != nil {
			e.refresh()
			resp.TTL = e.ttl
		}
		return resp, nil
	})
	if err == nil && resp.TTL <= 0 {
		err = rpctypes.ErrLeaseNotFound
	}
	return resp, clientv3.ContextError(ctx, err)
}

// KeepAlive implements [clientv3.Lease], and is not supported: whoever keeps an etcd lease here renews it by
// [Client.KeepAliveOnce].
func (c *Client) KeepAlive(context.Context, clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	return nil, errors.New("etcdsim: no KeepAlive, only KeepAliveOnce")
}
