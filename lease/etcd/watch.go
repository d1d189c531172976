package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// Pauses between attempts to list again after a watch broke.
const (
	relistPause    = 100 * time.Millisecond
	relistPauseMax = 5 * time.Second
)

// Watch tells every change after the snapshot from, in the order in which they happened. Where it cannot (the watch
// broke, etcd compacted what it had yet to tell, or a record cannot be read) it lists again and tells that listing, in
// which the unreadable are named, so that nobody concludes anything from what they were before. Stamps of sweeps and
// records that are deleted, as tombstones are in the end, are not told. The channel closes when ctx ends.
func (s *Store) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	changes := make(chan lease.Change)
	go func() {
		defer close(changes)
		for revision := from.Revision; ctx.Err() == nil; {
			err := s.follow(ctx, revision, changes)
			if ctx.Err() != nil {
				return
			}
			s.log.InfoContext(ctx, "watch broke, listing again", "namespace", s.namespace, "error", err)
			snapshot, err := s.relist(ctx)
			if err != nil {
				return
			}
			revision = snapshot.Revision
			if !send(ctx, changes, lease.Change{Snapshot: &snapshot}) {
				return
			}
		}
	}()
	return changes
}

// follow tells what happens after revision until the watch breaks, and returns why it did.
func (s *Store) follow(ctx context.Context, revision int64, changes chan<- lease.Change) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range s.client.Watch(ctx, s.root, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, event := range resp.Events {
			change, told, err := s.change(event)
			if err != nil {
				return err
			}
			if told && !send(ctx, changes, change) {
				return ctx.Err()
			}
		}
	}
	return errors.New("etcd closed the watch")
}

// change reads one event, and reports whether it is to be told.
func (s *Store) change(event *clientv3.Event) (lease.Change, bool, error) {
	if event.Type == clientv3.EventTypeDelete {
		kind, name := s.parse(string(event.Kv.GetKey()))
		switch kind {
		case "heartbeat":
			return lease.Change{Lapsed: name}, true, nil
		case "registry":
			return lease.Change{}, false, &lease.NotFoundError{Kind: kind, ID: name}
		}
		return lease.Change{}, false, nil
	}
	d, _, _, err := s.decode(event.Kv)
	if err != nil {
		return lease.Change{}, false, err
	}
	told := d.lease != nil || d.launch != nil || d.heartbeat != nil || d.registry != nil
	return lease.Change{Lease: d.lease, Launch: d.launch, Heartbeat: d.heartbeat, Registry: d.registry}, told, nil
}

// relist lists until it succeeds or ctx ends.
func (s *Store) relist(ctx context.Context) (lease.Snapshot, error) {
	for pause := relistPause; ; pause = min(2*pause, relistPauseMax) {
		snapshot, err := s.Snapshot(ctx)
		if err == nil {
			return snapshot, nil
		}
		s.log.WarnContext(ctx, "cannot list", "namespace", s.namespace, "error", err, "again_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return snapshot, ctx.Err()
		}
	}
}

func send(ctx context.Context, changes chan<- lease.Change, c lease.Change) bool {
	select {
	case changes <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
