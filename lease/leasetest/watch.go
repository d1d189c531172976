package leasetest

import (
	"context"
	"time"

	"lapse/lease"
)

// Watch tells every change after the snapshot from. After [Store.Compact], or where a record other than a heartbeat cannot
// be read, it tells a new listing instead. The channel closes when ctx ends.
func (s *Store) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	changes := make(chan lease.Change)
	go func() {
		defer close(changes)
		for revision := from.Revision; ; {
			todo, next, news := s.since(revision)
			revision = next
			for _, change := range todo {
				if change.Snapshot != nil {
					snapshot, err := s.relist(ctx)
					if err != nil {
						return
					}
					change.Snapshot, revision = &snapshot, snapshot.Revision
				}
				select {
				case changes <- change:
				case <-ctx.Done():
					return
				}
			}
			if len(todo) > 0 {
				continue
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes
}

// since returns what happened after revision, the revision up to which that is, and the channel that closes at the next
// write. A change with a snapshot, always the last, means that all must be listed again.
func (s *Store) since(revision int64) ([]lease.Change, int64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := lease.Change{Snapshot: &lease.Snapshot{}}
	if revision < s.compacted {
		return []lease.Change{again}, revision, s.news
	}
	var changes []lease.Change
	for _, e := range s.events {
		if e.entry.modified <= revision {
			continue
		}
		if e.deleted && e.key.kind == "registry" {
			return append(changes, again), s.revision, s.news
		}
		if e.deleted && e.key.kind == "heartbeat" {
			changes = append(changes, lease.Change{Lapsed: e.key.id})
		}
		if e.deleted {
			continue
		}
		change, sweep, err := read(e.key, e.entry)
		if err != nil && e.key.kind == "heartbeat" {
			bad := &lease.BadRecord{Kind: e.key.kind, ID: e.key.id, Err: err, Revision: e.entry.modified}
			changes = append(changes, lease.Change{Bad: bad})
			continue
		}
		if err != nil {
			return append(changes, again), s.revision, s.news
		}
		if sweep == nil && e.key.kind != "plan" {
			changes = append(changes, change)
		}
	}
	return changes, s.revision, s.news
}

// relist lists until it succeeds or ctx ends.
func (s *Store) relist(ctx context.Context) (lease.Snapshot, error) {
	for {
		snapshot, err := s.Snapshot(ctx)
		if err == nil {
			return snapshot, nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return snapshot, ctx.Err()
		}
	}
}

// Compact forgets what happened so far: a watch that has yet to tell it lists again.
func (s *Store) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compacted, s.events = s.revision, nil
}
