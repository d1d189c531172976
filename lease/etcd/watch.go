package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// toldAhead is how many changes may wait to be taken in: whoever decides takes in first what is told by then.
const toldAhead = 1000

// Pauses between attempts to list that fail.
const (
	relistPause    = 100 * time.Millisecond
	relistPauseMax = 5 * time.Second
)

// Watch tells every change after the snapshot from, in the order in which they happened. A heartbeat that cannot be read
// is told as such. Where a change cannot be told (the watch broke, etcd compacted what it had yet to tell, or another
// record cannot be read) it lists again and tells that listing, in which the unreadable are named, so that nobody
// concludes anything from what they were before. One listing follows another after a pause, in which the watch goes on
// where it can: whoever writes bad records often costs no more than one listing in 30 s. Checkpoints of sweeps and records
// that are deleted, as tombstones are in the end, are not told. The channel closes when ctx ends.
func (s *Store) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	changes := make(chan lease.Change, toldAhead)
	go func() {
		defer close(changes)
		rest := new(rest)
		for revision := from.Revision; ctx.Err() == nil; {
			err := s.follow(ctx, revision, rest, changes)
			if !rest.wait(ctx) {
				return
			}
			s.log.InfoContext(ctx, "cannot follow the changes; listing again", "namespace", s.namespace, "error", err)
			rest.begin()
			snapshot, err := s.relist(ctx)
			if err != nil {
				return
			}
			rest.end()
			revision = snapshot.Revision
			if !send(ctx, changes, lease.Change{Snapshot: &snapshot}) {
				return
			}
		}
	}()
	return changes
}

// follow tells what happens after revision until the watch breaks, or until a change that cannot be told may be listed.
// It returns why it ended.
func (s *Store) follow(ctx context.Context, revision int64, rest *rest, changes chan<- lease.Change) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := s.client.Watch(ctx, s.root, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	var untold error         // the first change that could not be told
	var due <-chan time.Time // when it may be listed
	for {
		select {
		case <-due:
			return untold
		case resp, open := <-watch:
			if !open {
				return errors.New("etcd closed the watch")
			}
			err := s.tell(ctx, resp, changes)
			if resp.Err() != nil || ctx.Err() != nil || err != nil && rest.left() == 0 {
				return err
			}
			if err != nil && untold == nil {
				untold, due = err, time.After(rest.left())
			}
		}
	}
}

// tell tells the changes of one answer, and returns the first that it cannot tell, or why the watch broke.
func (s *Store) tell(ctx context.Context, resp clientv3.WatchResponse, changes chan<- lease.Change) error {
	if err := resp.Err(); err != nil {
		return err
	}
	var untold error
	for _, event := range resp.Events {
		change, told, err := s.change(event)
		if untold == nil {
			untold = err
		}
		if told && !send(ctx, changes, change) {
			return ctx.Err()
		}
	}
	return untold
}

// change reads one event, and reports whether it is to be told. An error asks for a listing.
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
	d, kind, name, err := s.decode(event.Kv)
	if err != nil && kind == "heartbeat" { // which its instance may write as often as it likes
		return lease.Change{Bad: &lease.BadRecord{Kind: kind, ID: name, Err: err, Revision: event.Kv.GetModRevision()}}, true, nil
	}
	if err != nil && kind == "enrolment" { // no listing has it, and the API says that it cannot be read
		return lease.Change{}, false, nil
	}
	if err != nil {
		return lease.Change{}, false, err
	}
	return d.Change, d.Change != lease.Change{}, nil
}

// relist lists until it succeeds or ctx ends.
func (s *Store) relist(ctx context.Context) (lease.Snapshot, error) {
	for pause := relistPause; ; pause = min(2*pause, relistPauseMax) {
		snapshot, err := s.Snapshot(ctx)
		if err == nil {
			return snapshot, nil
		}
		s.log.WarnContext(ctx, "cannot list", "namespace", s.namespace, "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
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
