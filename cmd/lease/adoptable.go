package main

import (
	"context"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

// adoptable describes all instances and reads their records. It refuses all of them if one may not be adopted.
func (a *adoption) adoptable(ctx context.Context) error {
	listing, err := a.cloud.Describe(ctx, a.ids)
	if err != nil {
		return advice.EC2(err)
	}
	if listing.Dated && listing.Skew.Abs() > lease.MaxSkew {
		return advice.EC2(&ec2.ClockError{Skew: listing.Skew})
	}
	a.found, a.before = map[string]lease.Instance{}, map[string]lease.Lease{}
	for _, i := range listing.Instances {
		a.found[i.ID] = i
	}
	for _, id := range a.ids {
		if err := mayAdopt(a.found[id], id, a.cloud.Location(), a.registry); err != nil {
			return err
		}
		l, err := a.store.Lease(ctx, id)
		if cli.Is[*lease.NotFoundError](err) {
			continue
		}
		if err == nil {
			err = mayReplace(l, time.Now())
		}
		if err != nil {
			return err
		}
		a.before[id] = l
	}
	return nil
}

// mayAdopt refuses an instance because of its state in EC2.
func mayAdopt(i lease.Instance, id string, location lease.Location, registry lease.Registry) error {
	tag, tagged := i.Tags[lease.TagRegistry]
	switch {
	case i.ID == "":
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("EC2 finds no instance %s in %s; check --region and AWS_PROFILE", id, location))
	case !i.Alive():
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: EC2 reports it as %s; choose another instance", id, i.State))
	case i.Operator != "":
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: %s manages it, and EC2 lets nothing else terminate it; control its lifetime there", id, i.Operator))
	case tagged && tag != registry.UUID:
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: it bears the tag of another registry, %s; unmanage it there first", id, tag))
	}
	return nil
}

// settleFor is how long an unmanaged instance may still be terminated after the last request to terminate it: such a
// request cannot be called back.
const settleFor = 5 * time.Minute

// mayReplace refuses to adopt an instance that has a lease on record, unless its tag was never seen or it was
// unmanaged.
func mayReplace(l lease.Lease, now time.Time) error {
	wait := l.TriedAt.Add(settleFor).Sub(now)
	switch {
	case l.State == lease.StateAdopting, l.State == lease.StateUnmanaged && (l.TriedAt.IsZero() || wait <= 0):
		return nil
	case l.State == lease.StateUnmanaged:
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s yet: EC2 was asked to terminate it before it was unmanaged; try again in %s",
			l.InstanceID, brief(wait.Truncate(time.Second)+time.Second)))
	}
	return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: it already has a lease, which is %s; see `lease show %s`", l.InstanceID, l.State, l.InstanceID))
}

func warnUnattended(c *ucli.Context, store *etcd.Store, registry lease.Registry, location lease.Location) {
	sweep, err := store.Checkpoint(c.Context)
	if err != nil || !sweep.Names(location) || !sweep.Fresh(time.Now()) {
		cli.Say(c, "warning: no janitor sweeps %s, so adopted instances are not terminated when their leases expire; start `janitor run`", location)
	}
	if until := cli.UntilArmed(registry); until != "" {
		cli.Say(c, "warning: the registry's mode is %q: adopted instances are not terminated until %s", registry.Mode, until)
	}
}
