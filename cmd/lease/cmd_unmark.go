package main

import (
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func unmarkCommand() *ucli.Command {
	return &ucli.Command{
		Name: "unmark", Usage: "cancel a pending termination and restart the heartbeat timer", ArgsUsage: "ID…",
		Description: "The mark for a lost heartbeat returns if the sidecar does not renew, the mark for an expiry if the lease is\n" +
			"not extended.\n\n" +
			"   lease unmark i-0123456789abcdef0 --reason \"rebooting it\"",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag(), reasonFlag()),
		Action: registry.WithStore(named, unmark),
	}
}

func reasonFlag() ucli.Flag {
	return cli.ReasonFlag("the lease's history")
}

func unmark(c *ucli.Context, store *etcd.Store, ids []string) error {
	all, err := someTargets(c.Context, store, ids)
	if err != nil {
		return err
	}
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	return each(c, all, func(t target) (done, error) {
		before, after, err := write(c.Context, store, t.id, "unmark "+t.id, func(l lease.Lease) (lease.Lease, error) {
			return l.Unmark(time.Now(), by)
		})
		if err != nil {
			return skipOver(t, before, err)
		}
		said := t.id + " unmarked: it had no mark; its heartbeat timer restarts now"
		if before.Mark != nil {
			said = fmt.Sprintf("%s unmarked: its mark (%s) is cancelled", t.id, before.Mark.Cause)
		}
		return done{lease: after, said: said}, nil
	})
}
