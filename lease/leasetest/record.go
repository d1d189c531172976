package leasetest

import (
	"bytes"
	"context"
	"errors"

	"lapse/lease"
)

// get reads a record. s.mu is held.
func get[R any](s *Store, read reader[R], id string) (R, error) {
	e, found := s.entries[key{read.kind, id}]
	if !found {
		var none R
		if id == "" {
			id = Namespace
		}
		return none, &lease.NotFoundError{Kind: read.kind, ID: id}
	}
	return decode(key{read.kind, id}, e, read)
}

// put writes a record that is still at its revision. s.mu is held.
func put[R any](s *Store, read reader[R], r R) (R, error) {
	k := key{read.kind, read.id(r)}
	if s.entries[k].modified != *read.revision(&r) {
		return r, conflict(k)
	}
	data, err := encode(r, read)
	if err != nil {
		return r, err
	}
	*read.revision(&r) = s.set(k, data, 0)
	return r, nil
}

func conflict(k key) error {
	if k.id == "" {
		k.id = Namespace
	}
	return &lease.ConflictError{Kind: k.kind, ID: k.id}
}

func lockedGet[R any](ctx context.Context, s *Store, method string, read reader[R], id string) (R, error) {
	if err := s.begin(ctx, method); err != nil {
		var none R
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return get(s, read, id)
}

func lockedPut[R any](ctx context.Context, s *Store, method string, read reader[R], r R) (R, error) {
	if err := s.begin(ctx, method); err != nil {
		return r, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return put(s, read, r)
}

// update changes a record until nobody else wrote in between. change runs without the lock.
func update[R any](ctx context.Context, s *Store, method string, read reader[R], id string, change func(R) (R, error)) (before, after R, err error) {
	for {
		if before, err = lockedGet(ctx, s, method, read, id); err != nil {
			return before, before, err
		}
		if after, err = change(before); err != nil {
			return before, before, err
		}
		old, _ := encode(before, read)
		changed, err := encode(after, read)
		if err != nil || bytes.Equal(old, changed) {
			return before, before, err
		}
		*read.revision(&after) = *read.revision(&before)
		after, err = lockedPut(ctx, s, method, read, after)
		var lost *lease.ConflictError
		if !errors.As(err, &lost) {
			return before, after, err
		}
	}
}

// Registry reads the registry.
func (s *Store) Registry(ctx context.Context) (lease.Registry, error) {
	return lockedGet(ctx, s, "Registry", registries(), "")
}

// PutRegistry writes the registry if it is still at r's revision.
func (s *Store) PutRegistry(ctx context.Context, r lease.Registry) (lease.Registry, error) {
	return lockedPut(ctx, s, "PutRegistry", registries(), r)
}

// UpdateRegistry changes the registry until nobody else wrote in between.
func (s *Store) UpdateRegistry(ctx context.Context, change func(lease.Registry) (lease.Registry, error)) (before, after lease.Registry, err error) {
	return update(ctx, s, "UpdateRegistry", registries(), "", change)
}

// Checkpoint reads the record of the last sweep.
func (s *Store) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	return lockedGet(ctx, s, "Sweep", sweeps(), "")
}

// Plan reads what the leader has published.
func (s *Store) Plan(ctx context.Context) (lease.Plan, error) {
	return lockedGet(ctx, s, "Plan", plans(), "")
}

// Lease reads the lease of an instance.
func (s *Store) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return lockedGet(ctx, s, "Lease", leases(), id)
}

// PutLease writes the lease if it is still at l's revision.
func (s *Store) PutLease(ctx context.Context, l lease.Lease) (lease.Lease, error) {
	return lockedPut(ctx, s, "PutLease", leases(), l)
}

// UpdateLease changes a lease until nobody else wrote in between.
func (s *Store) UpdateLease(ctx context.Context, id string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error) {
	return update(ctx, s, "UpdateLease", leases(), id, change)
}

// Launch reads a launch.
func (s *Store) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return lockedGet(ctx, s, "Launch", launches(), token)
}

// PutLaunch writes the launch if it is still at l's revision.
func (s *Store) PutLaunch(ctx context.Context, l lease.Launch) (lease.Launch, error) {
	return lockedPut(ctx, s, "PutLaunch", launches(), l)
}

// UpdateLaunch changes a launch until nobody else wrote in between.
func (s *Store) UpdateLaunch(ctx context.Context, token string, change func(lease.Launch) (lease.Launch, error)) (before, after lease.Launch, err error) {
	return update(ctx, s, "UpdateLaunch", launches(), token, change)
}
