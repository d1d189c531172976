package janitor

import (
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
)

// recorder is EC2 in one location.
type recorder = leasetest.Cloud

// rig is a registry in memory with one launch of leased instances, EC2 in memory, and a leader.
type rig struct {
	t          *testing.T
	store      *leasetest.Store
	cloud      *recorder
	reg        lease.Registry
	leadership *leasetest.Leadership
	now        func() time.Time
	by         lease.By
}

func newRig(t *testing.T, ids ...string) *rig {
	t.Helper()
	r := &rig{t: t, store: leasetest.NewStore(), cloud: leasetest.NewCloud(), now: time.Now, by: lease.By{Actor: "test"}}
	r.reg = leasetest.Launched(t, r.store, r.cloud, ids...)
	var err error
	if r.leadership, err = r.store.Campaign(t.Context(), "one", time.Minute); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) instance(id, clientToken string) lease.Instance {
	return r.cloud.Made(id, r.reg.UUID, clientToken)
}

// snapshot is what the registry holds.
func (r *rig) snapshot() lease.Snapshot {
	r.t.Helper()
	s, err := r.store.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) lease(id string) lease.Lease {
	r.t.Helper()
	l, err := r.store.Lease(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) update(id string, change func(lease.Lease) (lease.Lease, error)) {
	r.t.Helper()
	if _, _, err := r.store.UpdateLease(r.t.Context(), id, change); err != nil {
		r.t.Fatal(err)
	}
}
