package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func releaseCommand() *ucli.Command {
	return endCommand("release", "give leases back, as their holder; terminates their instances")
}

// endCommand revokes leases: `release` for their holder, `revoke` for an operator. The cause on record differs.
func endCommand(name, usage string) *ucli.Command {
	return &ucli.Command{
		Name: name, Usage: usage, ArgsUsage: "ID…",
		Description: "With `lease release` the holder gives a lease back, with `lease revoke` an operator takes it away. Both\n" +
			"terminate the instance and cannot be undone; the cause on record differs.\n\n" +
			"`lease revoke` also terminates an instance whose lease is revoked already and that the date on its tag\n" +
			"keeps, because the tag is newer than the record.\n\n" +
			"A launch token also closes that launch: whatever it launched that has no lease is terminated too. The\n" +
			"command asks on a terminal, and needs --yes elsewhere. An unknown id stops it before anything is done.\n\n" +
			"   lease " + name + " i-0123456789abcdef0\n" +
			"   lease " + name + " nightly-2027-01-31 --yes --reason \"tests passed\"",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag(), cli.YesFlag(), reasonFlag()),
		Action: registry.WithStore(named, release),
	}
}

func release(c *ucli.Context, store *etcd.Store, ids []string) error {
	all, err := targets(c.Context, store, ids)
	if err != nil {
		return err
	}
	held, err := holding(c.Context, store, all)
	if err != nil {
		return err
	}
	shown := asked{}
	if err := cli.Confirm(c, releaseQuestion(c.Command.Name, ids, held), func() error {
		shown = askedOf(held)
		return stillShown(c.Context, store, ids, shown)
	}); err != nil {
		return err
	}
	registry, err := store.Registry(c.Context)
	if err != nil {
		return err
	}
	if all, err = closeLaunches(c, store, ids); err != nil {
		return err
	}
	return each(c, all, func(t target) (done, error) { return releaseOne(c, store, t, shown, cli.UntilArmed(registry)) })
}

// stillShown reads the leases again, and refuses if they differ from those that were shown.
func stillShown(ctx context.Context, store *etcd.Store, ids []string, shown asked) error {
	all, err := targets(ctx, store, ids)
	if err != nil {
		return err
	}
	held, err := holding(ctx, store, all)
	if err == nil {
		err = shown.covers(held)
	}
	for _, l := range held {
		if err == nil {
			err = shown.still(l)
		}
	}
	return err
}

// holding are the leases that are valid, or that only `lease revoke` can terminate. It refuses ids of missing leases;
// an unreadable record in a launch does not stop the release of the others.
func holding(ctx context.Context, store *etcd.Store, all []target) ([]lease.Lease, error) {
	var held []lease.Lease
	for _, t := range all {
		l, err := store.Lease(ctx, t.id)
		switch {
		case err != nil && t.token == "":
			return nil, err
		case err == nil && (l.Live() || l.AwaitsOperator()):
			held = append(held, l)
		}
	}
	return held, nil
}

func releaseQuestion(verb string, ids []string, held []lease.Lease) string {
	what := verb + " " + strings.Join(ids, " ")
	if len(held) == 0 {
		return what + ", which has no valid leases"
	}
	var holding []string
	for _, l := range held {
		holding = append(holding, l.InstanceID)
	}
	return fmt.Sprintf("%s, and terminate %s (%s)", what, count(len(holding), "instance"), some(holding))
}

// closeLaunches closes the launches among ids, and returns all leases to take away: after that no instance can be added to
// them.
func closeLaunches(c *ucli.Context, store *etcd.Store, ids []string) ([]target, error) {
	for _, id := range ids {
		if lease.IsInstanceID(id) {
			continue
		}
		before, _, err := store.UpdateLaunch(c.Context, id, func(l lease.Launch) (lease.Launch, error) {
			return l.Close(time.Now(), closeReason(c))
		})
		if err != nil && !known(err) {
			return nil, cli.WithCode(cli.ExitUnknown, fmt.Errorf("launch %s may or may not have been closed (%w); run `lease %s %s` again",
				id, registry.Advise(err), c.Command.Name, id))
		}
		if err != nil {
			return nil, err
		}
		if before.State == lease.LaunchClosed {
			cli.Say(c, "launch %s is already closed", id)
		} else {
			cli.Say(c, "launch %s closed", id)
		}
	}
	return targets(c.Context, store, ids)
}

func closeReason(c *ucli.Context) string {
	reason := c.Command.Name + " by " + cli.Actor()
	if why := c.String("reason"); why != "" {
		reason += ": " + why
	}
	return reason
}

// releaseOne revokes one lease, if it is still as shown. until is the command that must be run before its instance is
// terminated; empty if none.
func releaseOne(c *ucli.Context, store *etcd.Store, t target, shown asked, until string) (done, error) {
	cause, verb := lease.CauseRelease, "released"
	if c.Command.Name == "revoke" {
		cause, verb = lease.CauseRevoke, "revoked"
	}
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	already, again := false, false
	_, after, err := write(c.Context, store, t.id, c.Command.Name+" "+t.id, func(l lease.Lease) (lease.Lease, error) {
		again = cause == lease.CauseRevoke && l.AwaitsOperator()
		already = !again && (l.State == lease.StateRevoked || l.State == lease.StateEnded)
		if already {
			return l, nil
		}
		if err := shown.still(l); err != nil {
			return l, err
		}
		if again {
			return l.RevokeAgain(time.Now(), by)
		}
		return l.Revoke(time.Now(), cause, by)
	})
	if cli.Is[*lease.NotFoundError](err) && t.token != "" { // what a closed launch made and did not bind, the janitor finds
		return done{}, nil
	}
	if err != nil {
		return done{}, err
	}
	said := t.id + " " + verb + "; the janitor will terminate it"
	switch {
	case already:
		said = fmt.Sprintf("%s is already %s (%s)", t.id, after.State, after.Cause)
	case until != "":
		said = fmt.Sprintf("%s %s: this is recorded, but nothing is terminated until %s", t.id, verb, until)
	}
	return done{lease: after, said: said}, nil
}
