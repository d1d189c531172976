package etcd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// Snapshot reads everything at one revision, in pages. Records that cannot be read are in its Bad; only the registry
// must be there and readable, and must not ask for a newer version than this.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError], all of them of the registry.
func (s *Store) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.ListTimeout)
	defer cancel()
	for {
		pages, head, err := s.list(ctx)
		if errors.Is(err, rpctypes.ErrCompacted) { // between two pages: this revision is gone
			continue
		}
		if err != nil {
			return lease.Snapshot{}, fmt.Errorf("list namespace %s: %w", s.namespace, err)
		}
		return s.assemble(pages, head)
	}
}

// head says when a listing was made.
type head struct {
	revision int64
	term     uint64
}

// list reads all pages at the revision of the first, each of them decoded while the next is on its way. It leaves out the
// enrolments, by which nobody decides.
func (s *Store) list(ctx context.Context) ([]*page, head, error) {
	var (
		pages   []*page
		at      head
		workers sync.WaitGroup
		slots   = make(chan struct{}, runtime.GOMAXPROCS(0))
		left    = s.root + dirEnrolments
		from    = s.root
		to      = left
	)
	defer workers.Wait()
	options := []clientv3.OpOption{clientv3.WithLimit(s.options.PageSize)}
	for {
		resp, err := s.client.Get(ctx, from, append(options, clientv3.WithRange(to))...)
		if err != nil {
			return nil, at, err
		}
		if at.revision == 0 {
			at.revision = resp.Header.Revision
			options = append(options, clientv3.WithRev(at.revision))
		}
		at.term = resp.Header.RaftTerm
		p := new(page)
		pages = append(pages, p)
		slots <- struct{}{}
		workers.Go(func() {
			*p = s.decodePage(resp.Kvs)
			<-slots
		})
		switch {
		case resp.More:
			from = after(resp.Kvs)
		case to == left:
			from, to = clientv3.GetPrefixRangeEnd(left), clientv3.GetPrefixRangeEnd(s.root)
		default:
			workers.Wait()
			return pages, at, nil
		}
	}
}

// after is the first key that can follow those of a page.
func after(kvs []*mvccpb.KeyValue) string { return string(kvs[len(kvs)-1].GetKey()) + "\x00" }

// assemble joins the pages, in the order of their keys.
func (s *Store) assemble(pages []*page, at head) (lease.Snapshot, error) {
	var leases, launches, heartbeats int
	for _, p := range pages {
		leases, launches, heartbeats = leases+len(p.leases), launches+len(p.launches), heartbeats+len(p.heartbeats)
	}
	snapshot := lease.Snapshot{
		Leases: make([]lease.Lease, 0, leases), Launches: make([]lease.Launch, 0, launches),
		Heartbeats: make(map[string]lease.Heartbeat, heartbeats), Revision: at.revision, Term: at.term,
	}
	for _, p := range pages {
		snapshot.Leases = append(snapshot.Leases, p.leases...)
		snapshot.Launches = append(snapshot.Launches, p.launches...)
		for _, h := range p.heartbeats {
			snapshot.Heartbeats[h.InstanceID] = h
		}
		for _, bad := range p.bad {
			if bad.Kind == "registry" {
				return lease.Snapshot{}, bad.Err
			}
			snapshot.Bad = append(snapshot.Bad, bad)
		}
		if p.registry != nil {
			snapshot.Registry = *p.registry
		}
		if p.sweep != nil {
			snapshot.Checkpoint = *p.sweep
		}
		snapshot.Planned = snapshot.Planned || p.planned
	}
	return snapshot, s.understood(snapshot.Registry)
}

// understood refuses a registry that is not there, or that asks janitors for a newer version than this.
func (s *Store) understood(r lease.Registry) error {
	if r.Revision == 0 {
		return &lease.NotFoundError{Kind: "registry", ID: s.namespace}
	}
	if r.MinSchema > lease.Schema {
		return &lease.SchemaError{Kind: "registry", ID: s.namespace, Schema: r.MinSchema}
	}
	return nil
}
