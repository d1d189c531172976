package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func unmanageCommand() *ucli.Command {
	return &ucli.Command{
		Name: "unmanage", Usage: "forget instances, and end nothing", ArgsUsage: "ID…",
		Description: "The lease is given up first, then the tags go. Nothing of ours ends the instance from then on: you do. A launch\n" +
			"token means all of that launch. It asks first at a terminal, and wants --yes elsewhere. Also the way out for what is\n" +
			"stuck.\n\n" +
			"   lease unmanage i-0123456789abcdef0 --reason \"becomes the staging database\"",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag(), cli.AccountFlag(), cli.YesFlag(), reasonFlag()),
		Action: unmanage,
	}
}

func unmanage(c *ucli.Context) error {
	ids, err := named(c)
	if err != nil {
		return err
	}
	store, closeStore, err := cli.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	registry, err := store.Registry(c.Context)
	if err != nil {
		return err
	}
	all, err := someTargets(c.Context, store, ids)
	if err != nil {
		return err
	}
	leases, err := leasesOf(c, store, all)
	if err != nil {
		return err
	}
	clouds, err := cloudsOf(c, leases) // before anything is written: without them the tags would stay
	if err != nil {
		return err
	}
	if err := cli.Confirm(c, fmt.Sprintf("unmanage %s, so that nothing ends %s", strings.Join(ids, " "), count(len(leases), "instance"))); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t target) bool {
		return !slices.ContainsFunc(leases, func(l lease.Lease) bool { return l.InstanceID == t.id })
	})
	return forget(c, store, registry, clouds, all)
}

// cloudsOf opens EC2 in the places of leases.
func cloudsOf(c *ucli.Context, leases []lease.Lease) (map[lease.Place]*ec2.Cloud, error) {
	clouds := map[lease.Place]*ec2.Cloud{}
	for _, l := range leases {
		if clouds[l.Place()] != nil {
			continue
		}
		cloud, err := openPlace(c.Context, c, l.Place())
		if err != nil {
			return nil, err
		}
		clouds[l.Place()] = cloud
	}
	return clouds, nil
}

// forget gives the leases up, and then removes the tags of those that were.
func forget(c *ucli.Context, store *etcd.Store, registry lease.Registry, clouds map[lease.Place]*ec2.Cloud, all []target) error {
	forgotten := map[lease.Place][]string{}
	err := each(c, all, func(t target) (done, error) {
		d, err := forgetOne(c, store, t)
		if err == nil && d.lease.State == lease.StateUnmanaged {
			forgotten[d.lease.Place()] = append(forgotten[d.lease.Place()], t.id)
		}
		return d, err
	})
	for place, ids := range forgotten {
		if err := untag(c.Context, clouds[place], registry, ids); err != nil {
			return cli.WithCode(cli.ExitPartly, fmt.Errorf("forgotten, but tags are left (%w); run the same again", err))
		}
	}
	return err
}

func forgetOne(c *ucli.Context, store *etcd.Store, t target) (done, error) {
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	before, after, err := write(c.Context, store, t.id, "unmanage "+t.id, func(l lease.Lease) (lease.Lease, error) {
		if l.State == lease.StateUnmanaged {
			return l, nil
		}
		return l.Unmanage(time.Now(), by)
	})
	if err != nil {
		return skipOver(t, before, err)
	}
	said := t.id + " unmanaged: it runs until somebody else ends it"
	if before.State == lease.StateUnmanaged {
		said = t.id + " is unmanaged already"
	}
	return done{lease: after, said: said}, nil
}

// untag removes our tags from those of ids that EC2 still has. Another registry's tag stays.
func untag(ctx context.Context, cloud *ec2.Cloud, registry lease.Registry, ids []string) error {
	listing, err := cloud.Describe(ctx, ids)
	if err != nil {
		return coded(err)
	}
	tagged := slices.DeleteFunc(listing.Instances, func(i lease.Instance) bool { return !i.ManagedBy(registry.UUID) || !i.Alive() })
	var left []string
	for _, i := range tagged {
		left = append(left, i.ID)
	}
	return coded(cloud.Untag(ctx, left, []string{lease.TagRegistry, lease.TagLaunch}))
}
