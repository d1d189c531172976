package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func adoptCommand() *ucli.Command {
	return &ucli.Command{
		Name: "adopt", Usage: "give leases to instances that Lapse did not launch", ArgsUsage: "INSTANCE…",
		Description: "The lease is written first, then the tag; the lease counts once a janitor has seen the tag. All instances are\n" +
			"checked before the first is adopted. From then on they are terminated when their terms have passed.\n\n" +
			"   lease adopt i-0123456789abcdef0 --term 3d --holder search-team\n" +
			"   lease adopt $(lease list --unexplained -q) --term 24h",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), regionFlag(), reasonFlag(),
			&ucli.StringFlag{Name: "term", Value: "24h", Usage: "`DURATION` until the leases end, as in 8h or 3d, or none"},
			&ucli.StringFlag{Name: "not-after", Value: "7d", Usage: "`DURATION` until the latest date to which they may be extended, or none"},
			&ucli.StringFlag{Name: "holder", Usage: "`WHO` they are for: a person, a team, a job"},
			&ucli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` on the leases; may be given several times"}),
		Action: adopt,
	}
}

// terms are what adopted leases are given.
type terms struct {
	term, notAfter time.Duration // from now; zero: none
	holder         string
	labels         map[string]string
	by             lease.By
}

func adopt(c *ucli.Context) error {
	ids, err := named(c)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !lease.IsInstanceID(id) {
			return cli.Usage("%q is no instance id; instances of a launch have leases already", id)
		}
	}
	given, err := readTerms(c)
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
	cloud, err := openCloud(c.Context, c.String("region"))
	if err != nil {
		return err
	}
	instances, err := adoptable(c.Context, cloud, store, registry, ids)
	if err != nil {
		return err
	}
	warnUnattended(c, store, cloud.Place())
	var all []target
	for _, id := range ids {
		all = append(all, target{id: id})
	}
	return each(c, all, func(t target) (done, error) {
		return given.adoptOne(c.Context, cloud, store, registry, instances[t.id])
	})
}

// warnUnattended says so if nothing would end what is adopted.
func warnUnattended(c *ucli.Context, store *etcd.Store, place lease.Place) {
	sweep, err := store.Sweep(c.Context)
	if err != nil || !sweep.Names(place) || !sweep.Fresh(time.Now()) {
		cli.Say(c, "warning: no janitor sweeps %s at present, so nothing ends what is adopted; start `janitor run`", place)
	}
}

func readTerms(c *ucli.Context) (t terms, err error) {
	if t.term, err = cli.DurationOrNone("term", c.String("term")); err != nil {
		return t, err
	}
	if t.notAfter, err = cli.DurationOrNone("not-after", c.String("not-after")); err != nil {
		return t, err
	}
	if t.notAfter > 0 && (t.term == 0 || t.term > t.notAfter) {
		return t, cli.Usage("--term %s is later than --not-after %s; give a later --not-after, or none", c.String("term"), c.String("not-after"))
	}
	t.labels, err = cli.Pairs("label", c.StringSlice("label"))
	t.holder, t.by = c.String("holder"), lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	return t, err
}

// adoptable looks all instances up, and refuses them all if one may not be adopted.
func adoptable(ctx context.Context, cloud *ec2.Cloud, store *etcd.Store, registry lease.Registry, ids []string) (map[string]lease.Instance, error) {
	listing, err := cloud.Describe(ctx, ids)
	if err != nil {
		return nil, coded(err)
	}
	if listing.Dated && listing.Skew.Abs() > lease.MaxSkew {
		return nil, coded(&ec2.ClockError{Skew: listing.Skew})
	}
	found := map[string]lease.Instance{}
	for _, i := range listing.Instances {
		found[i.ID] = i
	}
	for _, id := range ids {
		if err := mayAdopt(found[id], id, cloud.Place(), registry); err != nil {
			return nil, err
		}
		l, err := store.Lease(ctx, id)
		switch {
		case is[*lease.NotFoundError](err):
		case err != nil:
			return nil, err
		case l.State != lease.StateAdopting:
			return nil, cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: it has a lease on record, %s; see `lease show %s`", id, l.State, id))
		}
	}
	return found, nil
}

// mayAdopt refuses an instance for what EC2 says of it.
func mayAdopt(i lease.Instance, id string, place lease.Place, registry lease.Registry) error {
	tag, tagged := i.Tags[lease.TagRegistry]
	switch {
	case i.ID == "":
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("EC2 knows no instance %s in %s; look at --region and AWS_PROFILE", id, place))
	case !i.Alive():
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: EC2 says %s", id, i.State))
	case tagged && tag != registry.UUID:
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: it bears the tag of another registry, %s; unmanage it there first", id, tag))
	}
	return nil
}

// adoptOne writes the lease, then the tag. Done again after a failure in between, it goes on with the tag.
func (t terms) adoptOne(ctx context.Context, cloud *ec2.Cloud, store *etcd.Store, registry lease.Registry, i lease.Instance) (done, error) {
	now := time.Now()
	var expiresAt, notAfter time.Time
	if t.term > 0 {
		expiresAt = now.Add(t.term)
	}
	if t.notAfter > 0 {
		notAfter = now.Add(t.notAfter)
	}
	adopting := lease.Adopt(now, i, expiresAt, notAfter, t.holder, t.labels, t.by)
	l, err := store.PutLease(ctx, adopting)
	if _, exists := errors.AsType[*lease.ConflictError](err); exists {
		if l, err = store.Lease(ctx, i.ID); err == nil && l.State != lease.StateAdopting {
			return done{lease: l, said: fmt.Sprintf("%s was adopted meanwhile, and is %s", i.ID, l.State)}, nil
		}
		if err == nil { // its tag was never set; what counts is the term given now
			adopting.Revision = l.Revision
			l, err = store.PutLease(ctx, adopting)
		}
	}
	if known(err) {
		return done{}, err
	}
	if err != nil {
		return done{}, cli.WithCode(cli.ExitUnknown, fmt.Errorf("whether %s was adopted is not known (%w); run the same again", i.ID, err))
	}
	if err := cloud.Tag(ctx, []string{i.ID}, map[string]string{lease.TagRegistry: registry.UUID}); err != nil {
		return done{}, cli.WithCode(cli.ExitPartly, fmt.Errorf("%s has a lease, but not its tag (%w); run the same again", i.ID, err))
	}
	said := fmt.Sprintf("%s adopted, expires %s", i.ID, cli.When(l.ExpiresAt, now))
	if i.Exempt() {
		said += "; but its tag " + lease.TagExempt + " keeps it from being ended"
	}
	return done{lease: l, said: said}, nil
}
