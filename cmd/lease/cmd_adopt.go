package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func adoptCommand() *ucli.Command {
	return &ucli.Command{
		Name: "adopt", Usage: "give leases to instances that Lapse did not launch", ArgsUsage: "INSTANCE…",
		Description: "Writes the lease first, then the tag; the lease counts once a janitor has seen the tag. It checks all\n" +
			"instances before it adopts the first, and again after you were asked. Adopted instances are terminated when\n" +
			"their leases expire, so it asks on a terminal, and needs --yes elsewhere. With --heartbeat-timeout a sidecar\n" +
			"must renew on them. An unmanaged instance can be adopted again.\n\n" +
			"It refuses instances that are replaced when they are terminated: those of an Auto Scaling group, of a fleet\n" +
			"that maintains its size, or of a persistent spot request. --cancel-spot-request cancels the request of a\n" +
			"running instance first.\n\n" +
			"   lease adopt i-0123456789abcdef0 --term 3d --holder search-team\n" +
			"   lease adopt $(lease list --untracked -q) --term 24h --dry-run",
		Flags: append(append(cli.StoreFlags(), termFlags()...), cli.OutputFlag(), regionFlag(), cli.AccountFlag(), reasonFlag(), cli.YesFlag(),
			&ucli.BoolFlag{Name: "dry-run", Usage: "check everything; adopt nothing"},
			&ucli.BoolFlag{Name: "cancel-spot-request", Usage: "cancel persistent spot requests of the instances first"},
			&ucli.BoolFlag{Name: "allow-replacement", Usage: "adopt even if terminating an instance starts another"}),
		Action: registry.WithStore(readAdoption, adopt),
	}
}

func adopt(c *ucli.Context, store *etcd.Store, a adoption) error {
	cloud, err := openCloud(c.Context, c, c.String("region"))
	if err != nil {
		return err
	}
	a.tagger = tagger{cloud: cloud, store: store}
	if err := a.look(c.Context); err != nil {
		return err
	}
	var all []target
	for _, id := range a.ids {
		a.warnOf(c, id)
		all = append(all, target{id: id})
	}
	warnUnattended(c, store, a.registry, cloud.Location())
	if c.Bool("dry-run") {
		return each(c, all, func(t target) (done, error) { return a.wouldAdopt(a.found[t.id]), nil })
	}
	if err := cli.Confirm(c, a.question(c), func() error { return a.look(c.Context) }); err != nil {
		return err
	}
	return each(c, all, func(t target) (done, error) { return a.adoptOne(c, a.found[t.id]) })
}

type adoption struct {
	terms
	tagger
	ids                          []string
	cancelSpot, allowReplacement bool
	found                        map[string]lease.Instance // as EC2 described them last
	before                       map[string]lease.Lease    // their records at that time, if any
	heartbeats                   map[string]lease.Heartbeat
	replacers                    map[string]ec2.Replacer // what starts another instance when one of them is terminated
}

// look reads the registry and describes the instances. It refuses all of them if one may not be adopted.
func (a *adoption) look(ctx context.Context) error {
	snapshot, err := a.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	if was := a.registry.UUID; was != "" && was != snapshot.Registry.UUID {
		return cli.Outdated("the registry changed from %s to %s", was, snapshot.Registry.UUID)
	}
	a.registry, a.heartbeats = snapshot.Registry, snapshot.Heartbeats
	if err := a.adoptable(ctx); err != nil {
		return err
	}
	a.replacers = a.cloud.Replacers(ctx, slices.Collect(maps.Values(a.found)))
	for _, id := range a.ids {
		if err := a.mayEnd(id); err != nil {
			return err
		}
	}
	return nil
}

func readAdoption(c *ucli.Context) (a adoption, err error) {
	a.cancelSpot, a.allowReplacement = c.Bool("cancel-spot-request"), c.Bool("allow-replacement")
	if a.ids, err = namedIfAny(c); err != nil {
		return a, err
	}
	if len(a.ids) == 0 {
		return a, cli.Usage("give an instance id; see `lease %s --help`", c.Command.Name)
	}
	for _, id := range a.ids {
		if !lease.IsInstanceID(id) {
			return a, cli.Usage("%q is not an instance id; give instance ids, because instances of a launch already have leases", id)
		}
	}
	a.terms, err = readTerms(c)
	return a, err
}

func (a *adoption) question(c *ucli.Context) string {
	question := fmt.Sprintf("adopt %s (%s)", count(len(a.ids), "instance"), some(a.ids))
	for _, id := range a.ids {
		if spot := a.spotToCancel(id); spot != "" {
			question = fmt.Sprintf("cancel spot request %s, %s", spot, question)
		}
	}
	if a.term == 0 {
		return question + ", without an expiry"
	}
	return fmt.Sprintf("%s, to be terminated in %s unless extended", question, c.String("term"))
}

// lease makes the lease of an instance that is adopted at now. It replaces the record that was read before.
func (a *adoption) lease(now time.Time, i lease.Instance, by lease.By) lease.Lease {
	var expiresAt, maxExpiresAt time.Time
	if a.term > 0 {
		expiresAt = now.Add(a.term)
	}
	if a.maxTerm > 0 {
		maxExpiresAt = now.Add(a.maxTerm)
	}
	before, recorded := a.before[i.ID]
	holder := a.holder
	if !a.named { // the holder stays the same
		holder = cmp.Or(before.Holder, i.Tags[lease.TagHolder], cli.Holder())
	}
	adopting := lease.Adopt(now, i, expiresAt, maxExpiresAt, holder, a.labels, by)
	adopting.HeartbeatTimeout = lease.Duration(a.heartbeatTimeout)
	adopting.Changes += a.heartbeats[i.ID].Changes // so that a sidecar that has seen an earlier lease does not take this one for older
	if recorded {
		adopting = adopting.Succeeding(before)
	}
	return adopting
}

func (a *adoption) wouldAdopt(i lease.Instance) done {
	now := time.Now()
	l := a.lease(now, i, lease.By{Actor: cli.Actor()})
	said := fmt.Sprintf("would adopt %s for %s, expires %s%s", i.ID, cmp.Or(l.Holder, "nobody"), cli.When(l.ExpiresAt, now), a.sooner(l, now))
	if spot := a.spotToCancel(i.ID); spot != "" {
		said = fmt.Sprintf("would cancel spot request %s; %s", spot, said)
	}
	return done{lease: l, said: said}
}

// adoptOne writes the lease over the record that was read, then the tag, and then checks that the instance has the tag:
// somebody else may have set another one at the same time. If it failed in between, running it again continues with the
// tag.
func (a *adoption) adoptOne(c *ucli.Context, i lease.Instance) (done, error) {
	ctx, now := c.Context, time.Now()
	if err := a.cancelRequest(c, i.ID); err != nil {
		return done{}, err
	}
	l, err := a.store.PutLease(ctx, a.lease(now, i, lease.By{Actor: cli.Actor(), Reason: c.String("reason")}))
	if cli.Is[*lease.ConflictError](err) {
		return done{}, cli.WithCode(cli.ExitRefused, fmt.Errorf("%s was not adopted: somebody else changed its lease at the same time; see `lease show %s`", i.ID, i.ID))
	}
	if known(err) {
		return done{}, err
	}
	if err != nil {
		return done{}, cli.WithCode(cli.ExitUnknown, fmt.Errorf("%s may or may not have been adopted (%w); run the same command again", i.ID, registry.Advise(err)))
	}
	if err := a.mark(c, i.ID); err != nil {
		return done{}, err
	}
	return done{lease: l, said: fmt.Sprintf("%s adopted for %s, expires %s%s", i.ID, cmp.Or(l.Holder, "nobody"), cli.When(l.ExpiresAt, now), a.sooner(l, now))}, nil
}

// sooner says so if an adoption that is repeated expires earlier than the interrupted one would have.
func (a *adoption) sooner(l lease.Lease, now time.Time) string {
	before := a.before[l.InstanceID]
	if before.State != lease.StateAdopting || l.ExpiresAt.IsZero() || !before.ExpiresAt.IsZero() && !l.ExpiresAt.Before(before.ExpiresAt) {
		return ""
	}
	return ", which is earlier than the expiry of the interrupted adoption: " + cli.When(before.ExpiresAt, now)
}
