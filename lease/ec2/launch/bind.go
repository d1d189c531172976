package launch

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	if shown, err := r.shows(ctx, missing); !shown || err != nil {
		return err
	}
	if err := r.retag(ctx, missing); err != nil {
		return err
	}
	r.noteTokenless(ctx, missing)
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

// noteTokenless notes in the registry if what was launched with a client token shows none: then the endpoint ignores client
// tokens, and later launches there are refused without another anima. Only a description tells, for EC2's answer to the call
// need not have everything.
func (r *run) noteTokenless(ctx context.Context, ids []string) {
	bare := func(id string) bool { i, seen := r.seen[id]; return seen && i.ClientToken == "" }
	n := slices.IndexFunc(ids, bare)
	if r.launch.Anima != lease.AnimaClientToken || n < 0 || r.registry.Tokenless[r.launch.Location().String()] != "" {
		return
	}
	listing, err := r.cloud.Describe(ctx, ids[n:n+1])
	if err != nil || len(listing.Instances) == 0 || listing.Instances[0].ClientToken != "" {
		return
	}
	r.warn(r.launch.Token, WarnTokenless, ids[n]+" does not show the client token that it was launched with, so the janitor cannot tell that it is of this launch, and keeps it")
	_, noted, err := r.store.UpdateRegistry(ctx, func(reg lease.Registry) (lease.Registry, error) {
		return reg.WithTokenless(r.launch.Location(), ids[n]), nil
	})
	if err == nil {
		r.registry = noted
	}
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
