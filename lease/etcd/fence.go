package etcd

import (
	"context"

	"lapse/lease"
)

// Snapshot reads everything at one revision; see [Store.Snapshot].
func (o *Leadership) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	return o.store.Snapshot(ctx)
}

// Watch tells what changed since a snapshot; see [Store.Watch].
func (o *Leadership) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	return o.store.Watch(ctx, from)
}

// Lease reads the lease of an instance; see [Store.Lease].
func (o *Leadership) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return o.store.Lease(ctx, id)
}

// Launch reads a launch; see [Store.Launch].
func (o *Leadership) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return o.store.Launch(ctx, token)
}

// fence is what every write of a janitor compares beside the record itself: that it still leads, and that the registry
// is the one that it read. It leads while its key is there and no candidate's is older: a snapshot can bring back the key
// of the leader before it. A registry that was never read fences everything off.
func (o *Leadership) fence(reg lease.Registry) []guard {
	deposed := &lease.DeposedError{Leader: o.name}
	revision := reg.Revision
	if revision == 0 {
		revision = -1 // no key has it
	}
	return []guard{
		createdAt(o.key, o.created, deposed),
		foremost(o.store.Election(), o.created, deposed),
		atRevision(o.store.Key("registry", ""), revision, deposed),
	}
}

// PutLease writes the lease if it is still at l's revision; revision 0 only creates. The result has the new one.
//
// Errors: [lease.DeposedError], [lease.ConflictError].
func (o *Leadership) PutLease(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error) {
	return o.store.leases.put(ctx, l, o.fence(reg)...)
}

// Revoke writes the lease, which l has revoked, as [Leadership.PutLease] does. If it was revoked because its heartbeat is
// lost, the write is also refused when there is a heartbeat that an etcd lease holds. One that no etcd lease holds is a ghost.
//
// Errors: [lease.DeposedError]; [lease.ConflictError], of kind "heartbeat" if there is one.
func (o *Leadership) Revoke(ctx context.Context, reg lease.Registry, l lease.Lease, lost bool) (lease.Lease, error) {
	guards := o.fence(reg)
	if lost {
		heartbeats := &lease.ConflictError{Kind: "heartbeat", ID: l.InstanceID}
		guards = append(guards, unheld(o.store.Key("heartbeat", l.InstanceID), heartbeats))
	}
	return o.store.leases.put(ctx, l, guards...)
}

// PutLaunch writes the launch if it is still at l's revision. The result has the new one.
//
// Errors: [lease.DeposedError], [lease.ConflictError].
func (o *Leadership) PutLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) (lease.Launch, error) {
	return o.store.launches.put(ctx, l, o.fence(reg)...)
}

// PutCheckpoint writes the checkpoint if it is still at sw's revision; revision 0 only creates. The result has the new one.
//
// Errors: [lease.DeposedError], [lease.ConflictError].
func (o *Leadership) PutCheckpoint(ctx context.Context, reg lease.Registry, sw lease.Checkpoint) (lease.Checkpoint, error) {
	return o.store.sweep.put(ctx, sw, o.fence(reg)...)
}

// PutPlan publishes a plan in place of the one that is there.
//
// Errors: [lease.DeposedError], [lease.ConflictError].
func (o *Leadership) PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) (err error) {
	if p.Revision, err = o.store.plan.at(ctx, p); err != nil {
		return err
	}
	_, err = o.store.plan.put(ctx, p, o.fence(reg)...)
	return err
}

// DeletePlan deletes the published plan, if there is one.
//
// Errors: [lease.DeposedError], [lease.ConflictError].
func (o *Leadership) DeletePlan(ctx context.Context, reg lease.Registry) error {
	revision, err := o.store.plan.at(ctx, lease.Plan{})
	if err != nil || revision == 0 {
		return err
	}
	return o.store.plan.remove(ctx, lease.Plan{Revision: revision}, nil, o.fence(reg)...)
}

// DeleteLease removes a tombstone if it is still at l's revision, and with it the keys that were enrolled for its instance.
//
// Errors: [lease.DeposedError], [lease.ConflictError]; [lease.NotFoundError] for a lease that was never stored.
func (o *Leadership) DeleteLease(ctx context.Context, reg lease.Registry, l lease.Lease) error {
	return o.store.leases.remove(ctx, l, []string{o.store.enrolled.key(l.InstanceID)}, o.fence(reg)...)
}

// DeleteLaunch removes a tombstone if it is still at l's revision.
//
// Errors: [lease.DeposedError], [lease.ConflictError]; [lease.NotFoundError] for a launch that was never stored.
func (o *Leadership) DeleteLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) error {
	return o.store.launches.remove(ctx, l, nil, o.fence(reg)...)
}
