package launch

import (
	"context"
	"errors"
	"fmt"

	"lapse/lease"
)

// unbound are the ids with which EC2 answered and whose leases this run has not seen.
func (r *run) unbound() []string {
	var ids []string
	for _, id := range r.launch.Instances() {
		if _, bound := r.leases[id]; !bound {
			ids = append(ids, id)
		}
	}
	return ids
}

// bind writes the leases of all instances that have none. A lease that is there already stays as it stands.
func (r *run) bind(ctx context.Context) error {
	missing := r.unbound()
	if err := r.look(ctx, missing); err != nil {
		return err
	}
	if err := r.retag(ctx, missing); err != nil {
		return err
	}
	wanted := make([]lease.Lease, 0, len(missing))
	for _, a := range r.launch.Attempts {
		for _, id := range a.Instances {
			if _, bound := r.leases[id]; bound {
				continue
			}
			i, seen := r.seen[id]
			if !seen { // ended and forgotten, or not listed yet: EC2's answer suffices
				i = lease.Instance{ID: id, Location: r.launch.Location()}
			}
			wanted = append(wanted, r.launch.Bind(r.config.Now(), i, a, lease.By{Actor: r.config.Actor}))
		}
	}
	bound, err := r.store.Bind(ctx, r.launch, wanted)
	for _, b := range bound {
		r.leases[b.InstanceID] = b
	}
	if err != nil {
		return err
	}
	if left := r.unbound(); len(left) > 0 {
		return fmt.Errorf("%d of %s were not bound", len(left), howMany(len(wanted)))
	}
	r.tell(EventBound, r.launch, "leases written for "+howMany(len(bound)))
	return nil
}

// look asks EC2 for the instances that an earlier launcher learned of.
func (r *run) look(ctx context.Context, ids []string) error {
	var unseen []string
	for _, id := range ids {
		if _, seen := r.seen[id]; !seen {
			unseen = append(unseen, id)
		}
	}
	listing, err := r.cloud.Describe(ctx, unseen)
	if err != nil {
		return err
	}
	r.remember(listing.Instances)
	return nil
}

func (r *run) remember(instances []lease.Instance) {
	for _, i := range instances {
		r.seen[i.ID] = i
	}
}

// report reads the leases of a settled launch. Those whose records are gone are left out.
func (r *run) report(ctx context.Context) error {
	for _, id := range r.unbound() {
		found, err := r.store.Lease(ctx, id)
		var absent *lease.NotFoundError
		switch {
		case err == nil:
			r.leases[id] = found
		case !errors.As(err, &absent):
			return err
		}
	}
	return nil
}
