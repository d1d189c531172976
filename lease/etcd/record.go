package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// table is one kind of record under its keys.
type table[R any] struct {
	store    *Store
	kind     string
	decode   func(kind, name string, data []byte) (R, error)
	revision func(*R) *int64 // where the record keeps the store's revision
	name     func(R) string  // what the record calls itself
}

func (t table[R]) key(name string) string { return t.store.Key(t.kind, name) }

// read decodes a stored record. One whose content names another record than its key is malformed: nothing may be
// concluded from it about either.
func (t table[R]) read(name string, kv *mvccpb.KeyValue) (R, error) {
	r, err := t.decode(t.kind, name, kv.GetValue())
	if err != nil {
		return r, err
	}
	if own := t.name(r); own != name {
		return r, &lease.MalformedError{Kind: t.kind, ID: name, Err: fmt.Errorf("it names itself %q", own)}
	}
	*t.revision(&r) = kv.GetModRevision()
	return r, nil
}

// encode is the stored form, in which a record does not carry its own revision.
func (t table[R]) encode(r R) (string, error) {
	*t.revision(&r) = 0
	data, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode %s %s: %w", t.kind, t.name(r), err)
	}
	return string(data), nil
}

func (t table[R]) get(ctx context.Context, name string) (R, error) {
	var none R
	ctx, cancel := t.store.bounded(ctx)
	defer cancel()
	resp, err := t.store.client.Get(ctx, t.key(name))
	if err != nil {
		return none, fmt.Errorf("read %s %s: %w", t.kind, name, err)
	}
	if len(resp.Kvs) == 0 {
		return none, &lease.NotFoundError{Kind: t.kind, ID: name}
	}
	return t.read(name, resp.Kvs[0])
}

// at is the revision of the record as it is now, whether or not it can be read; 0 if there is none.
func (t table[R]) at(ctx context.Context, r R) (int64, error) {
	ctx, cancel := t.store.bounded(ctx)
	defer cancel()
	resp, err := t.store.client.Get(ctx, t.key(t.name(r)))
	if err != nil || len(resp.Kvs) == 0 {
		return 0, err
	}
	return resp.Kvs[0].GetModRevision(), nil
}

// put writes r if the record is still at r's revision and every guard holds.
func (t table[R]) put(ctx context.Context, r R, guards ...guard) (R, error) {
	data, err := t.encode(r)
	if err != nil {
		return r, err
	}
	key := t.key(t.name(r))
	guards = append(guards, t.unchanged(r))
	revision, err := t.store.write(ctx, []clientv3.Op{clientv3.OpPut(key, data)}, guards...)
	if err != nil {
		return r, fmt.Errorf("put %s %s: %w", t.kind, t.name(r), err)
	}
	*t.revision(&r) = revision
	return r, nil
}

// remove deletes r, and what is kept for it alone under other keys, if the record is still at r's revision and every guard holds.
func (t table[R]) remove(ctx context.Context, r R, others []string, guards ...guard) error {
	if *t.revision(&r) == 0 {
		return &lease.NotFoundError{Kind: t.kind, ID: t.name(r)}
	}
	guards = append(guards, t.unchanged(r))
	deletes := []clientv3.Op{clientv3.OpDelete(t.key(t.name(r)))}
	for _, key := range others {
		deletes = append(deletes, clientv3.OpDelete(key))
	}
	if _, err := t.store.write(ctx, deletes, guards...); err != nil {
		return fmt.Errorf("delete %s %s: %w", t.kind, t.name(r), err)
	}
	return nil
}

func (t table[R]) unchanged(r R) guard {
	return atRevision(t.key(t.name(r)), *t.revision(&r), &lease.ConflictError{Kind: t.kind, ID: t.name(r)})
}

// update reads the record, changes it and writes it, again and again until nobody else wrote in between. A record that
// change returns as it was is not written.
func (t table[R]) update(ctx context.Context, name string, change func(R) (R, error)) (before, after R, err error) {
	for {
		if before, err = t.get(ctx, name); err != nil {
			return before, before, err
		}
		if after, err = change(before); err != nil {
			return before, before, err
		}
		same, err := t.same(before, after)
		if err != nil || same {
			return before, before, err
		}
		*t.revision(&after) = *t.revision(&before)
		after, err = t.put(ctx, after)
		if _, conflict := errors.AsType[*lease.ConflictError](err); !conflict {
			return before, after, err
		}
	}
}

func (t table[R]) same(a, b R) (bool, error) {
	one, err := t.encode(a)
	if err != nil {
		return false, err
	}
	other, err := t.encode(b)
	return one == other, err
}

// Registry reads the registry.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) Registry(ctx context.Context) (lease.Registry, error) {
	return s.registry.get(ctx, s.namespace)
}

// PutRegistry writes the registry if it is still at r's revision; revision 0 only creates. The result has the new one.
//
// Errors: [lease.ConflictError].
func (s *Store) PutRegistry(ctx context.Context, r lease.Registry) (lease.Registry, error) {
	return s.registry.put(ctx, r)
}

// UpdateRegistry changes the registry as [Store.UpdateLease] does a lease.
func (s *Store) UpdateRegistry(ctx context.Context, change func(lease.Registry) (lease.Registry, error)) (before, after lease.Registry, err error) {
	return s.registry.update(ctx, s.namespace, change)
}

// Checkpoint reads the record of the last sweep.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) Checkpoint(ctx context.Context) (lease.Checkpoint, error) {
	return s.sweep.get(ctx, s.namespace)
}

// Plan reads what the leader would do, if it has published that.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) Plan(ctx context.Context) (lease.Plan, error) {
	return s.plan.get(ctx, s.namespace)
}

// Lease reads the lease of an instance.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return s.leases.get(ctx, id)
}

// PutLease writes the lease if it is still at l's revision; revision 0 only creates. The result has the new one.
//
// Errors: [lease.ConflictError].
func (s *Store) PutLease(ctx context.Context, l lease.Lease) (lease.Lease, error) {
	return s.leases.put(ctx, l)
}

// UpdateLease reads the lease, changes it and writes it; if somebody else wrote in between, it starts again, until ctx
// ends. A lease that change returns as it was is not written, and an error of change is returned as it is. After an
// error, after is what before is.
//
// Errors: those of change, [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) UpdateLease(ctx context.Context, id string, change func(lease.Lease) (lease.Lease, error)) (before, after lease.Lease, err error) {
	return s.leases.update(ctx, id, change)
}

// Launch reads a launch.
//
// Errors: [lease.NotFoundError], [lease.SchemaError], [lease.MalformedError].
func (s *Store) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return s.launches.get(ctx, token)
}

// PutLaunch writes the launch if it is still at l's revision; revision 0 only creates. The result has the new one.
//
// Errors: [lease.ConflictError].
func (s *Store) PutLaunch(ctx context.Context, l lease.Launch) (lease.Launch, error) {
	return s.launches.put(ctx, l)
}

// UpdateLaunch changes a launch as [Store.UpdateLease] does a lease.
func (s *Store) UpdateLaunch(ctx context.Context, token string, change func(lease.Launch) (lease.Launch, error)) (before, after lease.Launch, err error) {
	return s.launches.update(ctx, token, change)
}

// Enrolment reads the keys that are enrolled for an instance: none, of revision 0, if nobody has enrolled any.
//
// Errors: [lease.SchemaError], [lease.MalformedError].
func (s *Store) Enrolment(ctx context.Context, id string) (lease.Enrolment, error) {
	e, err := s.enrolled.get(ctx, id)
	if _, none := errors.AsType[*lease.NotFoundError](err); none {
		return lease.Enrolment{InstanceID: id}, nil
	}
	return e, err
}

// UpdateEnrolment changes the keys that are enrolled for an instance, as [Store.UpdateLease] does a lease; of one without any,
// change is given an empty enrolment.
//
// Errors: those of change, [lease.SchemaError], [lease.MalformedError].
func (s *Store) UpdateEnrolment(ctx context.Context, id string, change func(lease.Enrolment) (lease.Enrolment, error)) (before, after lease.Enrolment, err error) {
	for {
		before, err := s.Enrolment(ctx, id)
		if err != nil {
			return before, before, err
		}
		after, err := change(before)
		if err != nil {
			return before, before, err
		}
		if same, err := s.enrolled.same(before, after); err != nil || same {
			return before, before, err
		}
		after.Revision = before.Revision
		after, err = s.enrolled.put(ctx, after)
		if _, conflict := errors.AsType[*lease.ConflictError](err); !conflict {
			return before, after, err
		}
	}
}
