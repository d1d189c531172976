package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func unmanageCommand() *ucli.Command {
	return &ucli.Command{
		Name: "unmanage", Usage: "stop managing instances; terminates nothing", ArgsUsage: "ID…",
		Description: "Gives the lease up first, then removes the tags. From then on Lapse does not terminate the instance: you do,\n" +
			"or `lease adopt` manages it again. A launch token means all of that launch. It asks on a terminal, and needs\n" +
			"--yes elsewhere. Use it also for an instance that is stuck.\n\n" +
			"   lease unmanage i-0123456789abcdef0 --reason \"becomes staging-db\"",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag(), cli.AccountFlag(), cli.YesFlag(), reasonFlag()),
		Action: registry.WithStore(named, unmanage),
	}
}

func unmanage(c *ucli.Context, store *etcd.Store, ids []string) error {
	d := dismissal{store: store, ids: ids}
	if err := d.look(c); err != nil {
		return err
	}
	shown := askedOf(d.leases)
	question := fmt.Sprintf("unmanage %s, so that Lapse does not terminate %s", strings.Join(ids, " "), count(len(d.leases), "instance"))
	if err := cli.Confirm(c, question, func() error {
		if err := d.look(c); err != nil {
			return err
		}
		return shown.covers(d.leases)
	}); err != nil {
		return err
	}
	return d.forget(c)
}

type dismissal struct {
	store    *etcd.Store
	ids      []string
	registry lease.Registry
	targets  []target
	leases   []lease.Lease
	clouds   map[lease.Location]*ec2.Cloud
}

// look reads the leases, and opens EC2 before anything is written: without EC2 the tags would stay.
func (d *dismissal) look(c *ucli.Context) error {
	registry, err := d.store.Registry(c.Context)
	if err != nil {
		return err
	}
	if was := d.registry.UUID; was != "" && was != registry.UUID {
		return cli.Outdated("the registry changed from %s to %s", was, registry.UUID)
	}
	all, err := someTargets(c.Context, d.store, d.ids)
	if err != nil {
		return err
	}
	if d.leases, err = leasesOf(c, d.store, all); err != nil {
		return err
	}
	if d.clouds, err = cloudsOf(c, d.leases); err != nil {
		return err
	}
	d.registry = registry
	d.targets = slices.DeleteFunc(all, func(t target) bool {
		return !slices.ContainsFunc(d.leases, func(l lease.Lease) bool { return l.InstanceID == t.id })
	})
	return nil
}

func cloudsOf(c *ucli.Context, leases []lease.Lease) (map[lease.Location]*ec2.Cloud, error) {
	clouds := map[lease.Location]*ec2.Cloud{}
	for _, l := range leases {
		if clouds[l.Location()] != nil {
			continue
		}
		cloud, err := openLocation(c.Context, c, l.Location())
		if err != nil {
			return nil, err
		}
		clouds[l.Location()] = cloud
	}
	return clouds, nil
}

// forget marks the leases as unmanaged, and then removes the tags of their instances.
func (d *dismissal) forget(c *ucli.Context) error {
	forgotten := map[lease.Location][]string{}
	err := each(c, d.targets, func(t target) (done, error) {
		one, err := forgetOne(c, d.store, t)
		if err == nil && one.lease.State == lease.StateUnmanaged {
			forgotten[one.lease.Location()] = append(forgotten[one.lease.Location()], t.id)
		}
		return one, err
	})
	for location, ids := range forgotten {
		if err := (tagger{d.clouds[location], d.store, d.registry}).unmark(c.Context, ids...); err != nil {
			return cli.WithCode(cli.ExitPartly, fmt.Errorf("unmanaged, but some tags are not removed (%w); run the same command again", registry.Advise(err)))
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
	said := t.id + " unmanaged: it runs until somebody terminates it"
	if before.State == lease.StateUnmanaged {
		said = t.id + " is already unmanaged"
	}
	return done{lease: after, said: said}, nil
}
