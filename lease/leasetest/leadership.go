package leasetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lapse/lease"
)

// Leadership is a janitor's leadership, with the methods of etcd's.
type Leadership struct {
	store            *Store
	name             string
	heartbeatTimeout time.Duration
	lost             chan struct{}
	close            func() // closes lost, once
}

// Campaign becomes leader at once and deposes whoever held it. As after a pause of its process, the deposed one hears of
// that from the refusal of its writes; its Lost closes only after its ttl.
func (s *Store) Campaign(ctx context.Context, name string, timeout time.Duration) (*Leadership, error) {
	if err := s.begin(ctx, "Campaign"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.understood(); err != nil {
		return nil, fmt.Errorf("campaign: %w", err)
	}
	if old := s.leader; old != nil {
		time.AfterFunc(old.heartbeatTimeout, old.close)
	}
	lost := make(chan struct{})
	s.leader = &Leadership{store: s, name: name, heartbeatTimeout: timeout, lost: lost, close: sync.OnceFunc(func() { close(lost) })}
	return s.leader, nil
}

// Depose takes the leadership away from whoever holds it, and Lost closes.
func (s *Store) Depose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != nil {
		s.leader.close()
		s.leader = nil
	}
}

// Leader is the name of whoever leads, and false if nobody does.
func (s *Store) Leader() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == nil {
		return "", false
	}
	return s.leader.name, true
}

// Name under which the leadership was taken.
func (o *Leadership) Name() string { return o.name }

// While asks works every third of the ttl, and lets the leadership expire a ttl after it last returned nil.
func (o *Leadership) While(works func() error) {
	var ask func()
	worked := time.Now()
	ask = func() {
		select {
		case <-o.lost:
			return
		default:
		}
		if works() == nil {
			worked = time.Now()
		}
		if time.Since(worked) >= o.heartbeatTimeout {
			o.lapse()
			return
		}
		time.AfterFunc(o.heartbeatTimeout/3, ask)
	}
	ask()
}

// lapse ends the leadership as etcd does when its holder did not renew it.
func (o *Leadership) lapse() {
	o.close()
	o.store.mu.Lock()
	defer o.store.mu.Unlock()
	if o.store.leader == o {
		o.store.leader = nil
	}
}

// Lost closes when the leadership is lost for certain: a ttl after somebody else took it, by [Store.Depose], or after
// [Leadership.Resign].
func (o *Leadership) Lost() <-chan struct{} { return o.lost }

// Resign gives the leadership up.
func (o *Leadership) Resign(ctx context.Context) error {
	o.close()
	if err := o.store.begin(ctx, "Resign"); err != nil {
		return err
	}
	o.store.mu.Lock()
	defer o.store.mu.Unlock()
	if o.store.leader == o {
		o.store.leader = nil
	}
	return nil
}

// Snapshot reads everything at one revision.
func (o *Leadership) Snapshot(ctx context.Context) (lease.Snapshot, error) {
	return o.store.Snapshot(ctx)
}

// Watch tells what changed since a snapshot.
func (o *Leadership) Watch(ctx context.Context, from lease.Snapshot) <-chan lease.Change {
	return o.store.Watch(ctx, from)
}

// Lease reads the lease of an instance.
func (o *Leadership) Lease(ctx context.Context, id string) (lease.Lease, error) {
	return o.store.Lease(ctx, id)
}

// Launch reads a launch.
func (o *Leadership) Launch(ctx context.Context, token string) (lease.Launch, error) {
	return o.store.Launch(ctx, token)
}

// fenced does write under the lock, if o still leads and the registry is the one given.
func (o *Leadership) fenced(ctx context.Context, method string, reg lease.Registry, write func() error) error {
	if err := o.store.begin(ctx, "Leadership."+method); err != nil {
		return err
	}
	o.store.mu.Lock()
	defer o.store.mu.Unlock()
	stored := o.store.entries[key{"registry", ""}].modified
	if o.store.leader != o || reg.Revision == 0 || stored != reg.Revision {
		return &lease.DeposedError{Leader: o.name}
	}
	return write()
}

// PutLease writes the lease if it is still at l's revision.
func (o *Leadership) PutLease(ctx context.Context, reg lease.Registry, l lease.Lease) (lease.Lease, error) {
	err := o.fenced(ctx, "PutLease", reg, func() (err error) {
		l, err = put(o.store, leases(), l)
		return err
	})
	return l, err
}

// Revoke writes the revoked lease, and is refused, if it is for a missing heartbeat, when there is a heartbeat that something keeps.
func (o *Leadership) Revoke(ctx context.Context, reg lease.Registry, l lease.Lease, lost bool) (lease.Lease, error) {
	err := o.fenced(ctx, "Revoke", reg, func() (err error) {
		if heartbeat := (key{"heartbeat", l.InstanceID}); lost && o.store.entries[heartbeat].handle != 0 {
			return conflict(heartbeat)
		}
		l, err = put(o.store, leases(), l)
		return err
	})
	return l, err
}

// PutLaunch writes the launch if it is still at l's revision.
func (o *Leadership) PutLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) (lease.Launch, error) {
	err := o.fenced(ctx, "PutLaunch", reg, func() (err error) {
		l, err = put(o.store, launches(), l)
		return err
	})
	return l, err
}

// PutCheckpoint writes the checkpoint if it is still at sw's revision.
func (o *Leadership) PutCheckpoint(ctx context.Context, reg lease.Registry, sw lease.Checkpoint) (lease.Checkpoint, error) {
	err := o.fenced(ctx, "PutCheckpoint", reg, func() (err error) {
		sw, err = put(o.store, sweeps(), sw)
		return err
	})
	return sw, err
}

// PutPlan publishes a plan in place of the one that is there.
func (o *Leadership) PutPlan(ctx context.Context, reg lease.Registry, p lease.Plan) error {
	return o.fenced(ctx, "PutPlan", reg, func() (err error) {
		p.Revision = o.store.entries[key{"plan", ""}].modified
		_, err = put(o.store, plans(), p)
		return err
	})
}

// DeletePlan takes back what was published, if anything was.
func (o *Leadership) DeletePlan(ctx context.Context, reg lease.Registry) error {
	return o.fenced(ctx, "DeletePlan", reg, func() error {
		o.store.unset(key{"plan", ""})
		return nil
	})
}

// DeleteLease removes a tombstone if it is still at l's revision.
func (o *Leadership) DeleteLease(ctx context.Context, reg lease.Registry, l lease.Lease) error {
	return o.remove(ctx, "DeleteLease", reg, key{"lease", l.InstanceID}, l.Revision)
}

// DeleteLaunch removes a tombstone if it is still at l's revision.
func (o *Leadership) DeleteLaunch(ctx context.Context, reg lease.Registry, l lease.Launch) error {
	return o.remove(ctx, "DeleteLaunch", reg, key{"launch", l.Token}, l.Revision)
}

func (o *Leadership) remove(ctx context.Context, method string, reg lease.Registry, k key, revision int64) error {
	if revision == 0 {
		return &lease.NotFoundError{Kind: k.kind, ID: k.id}
	}
	return o.fenced(ctx, method, reg, func() error {
		if o.store.entries[k].modified != revision {
			return conflict(k)
		}
		o.store.unset(k)
		return nil
	})
}
