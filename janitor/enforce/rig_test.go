package enforce

import (
	"log/slog"
	"testing"
	"time"

	"lapse/janitor/audit"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/leasetest"
)

// rig is a registry in memory with one launch of leased instances, EC2 in memory, and a leader.
type rig struct {
	t          *testing.T
	store      *leasetest.Store
	cloud      *leasetest.Cloud
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

// armed acts two hours later, when every lease has expired and every deadline has passed.
func (r *rig) armed() Armed {
	later := func() time.Time { return r.now().Add(2 * time.Hour) }
	return Armed{
		Name: "janitor:one", Decided: time.Now(), Registry: r.leadership, Clouds: map[lease.Location]Cloud{r.cloud.Where: r.cloud}, Policy: plan.DefaultPolicy(),
		Wall: later, Date: later, Standing: func() []lease.Brake { return nil }, Emit: func(audit.Event) {},
		Record: func(audit.Event) error { return nil }, Log: slog.New(slog.DiscardHandler),
	}
}

// verdicts condemn the leases of these instances as they stand.
func (r *rig) verdicts(cause lease.Cause, ids ...string) []plan.Verdict {
	r.t.Helper()
	var vs []plan.Verdict
	for _, id := range ids {
		if cause.Inferred() {
			r.update(id, func(l lease.Lease) (lease.Lease, error) {
				return l.WithMark(r.now(), cause, r.now().Add(time.Minute), r.by)
			})
		}
		l, i := r.lease(id), r.cloud.Instances[id]
		vs = append(vs, plan.Verdict{
			Action: plan.ActTerminate, InstanceID: id, Location: r.cloud.Where, Zone: "eu-west-1a", Cause: cause, Reason: "test", Lease: &l, Instance: &i,
		})
	}
	return vs
}

func (r *rig) enforce(vs []plan.Verdict) Report {
	return r.armed().Enforce(r.t.Context(), r.reg, plan.Plan{Verdicts: vs})
}
