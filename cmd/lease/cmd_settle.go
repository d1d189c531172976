package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func settleCommand() *ucli.Command {
	return &ucli.Command{
		Name: "settle", Usage: "keep one of the keys that claim to be an instance", ArgsUsage: "ID",
		Description: "Without --key it lists the keys that are enrolled with the API for the instance. An older key that is used after\n" +
			"a newer one contests the instance: two claim to be it. Then its heartbeat is not judged, and none of them may\n" +
			"release it, until you keep one. The others are forgotten, and have to prove themselves again.\n\n" +
			"   lease settle i-0123456789abcdef0\n" +
			"   lease settle i-0123456789abcdef0 --key 3f9a --reason \"the other: a clone\"",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), reasonFlag(),
			&ucli.StringFlag{Name: "key", Usage: "keep the key whose SHA-256 begins with `HEX`"}),
		Action: registry.WithStore(namedInstance, settle),
	}
}

func settle(c *ucli.Context, store *etcd.Store, id string) error {
	e, err := store.Enrolment(c.Context, id)
	if err != nil {
		return err
	}
	if len(e.Keys) == 0 { // a lease may have none, and a key may be there before its lease
		if _, err := store.Lease(c.Context, id); err != nil {
			return err
		}
	}
	if c.String("key") == "" {
		return cli.Show(c, e, func() error { return showKeys(c, e) })
	}
	key, err := chosenKey(c, e)
	if err != nil {
		return err
	}
	_, e, err = store.UpdateEnrolment(c.Context, id, func(e lease.Enrolment) (lease.Enrolment, error) { return e.Settle(key) })
	if err != nil {
		return err
	}
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	_, _, err = write(c.Context, store, id, "settle "+id+" --key "+key, func(l lease.Lease) (lease.Lease, error) { return l.Settled(time.Now(), by) })
	if err != nil && !cli.Is[*lease.NotFoundError](err) {
		return err
	}
	cli.Say(c, "%s keeps the key %.12s; whoever has another must prove itself again", id, key)
	return cli.Show(c, e, func() error { return showKeys(c, e) })
}

// chosenKey is the key that --key means.
func chosenKey(c *ucli.Context, e lease.Enrolment) (string, error) {
	var meant []string
	for _, k := range e.Keys {
		if strings.HasPrefix(k.SHA256, strings.ToLower(c.String("key"))) {
			meant = append(meant, k.SHA256)
		}
	}
	if len(meant) != 1 {
		return "", cli.Usage("--key %s means %d of the keys of %s; `lease settle %s` lists them", c.String("key"), len(meant), e.InstanceID, e.InstanceID)
	}
	return meant[0], nil
}

func showKeys(c *ucli.Context, e lease.Enrolment) error {
	now := time.Now()
	switch {
	case len(e.Keys) == 0:
		cli.Say(c, "no key is enrolled for %s", e.InstanceID)
		return nil
	case !e.Contested.IsZero():
		cli.Say(c, "contested since %s: keep one with --key", cli.When(e.Contested, now))
	}
	rows := [][]string{{"KEY", "ENROLLED", "FROM", "PROOF", "USED SINCE"}}
	for _, k := range e.Keys {
		used := "never"
		if !k.UsedAt.IsZero() {
			used = cli.When(k.UsedAt, now)
		}
		if k.SHA256 == e.InUse {
			used += ", in use"
		}
		rows = append(rows, []string{fmt.Sprintf("%.12s", k.SHA256), cli.When(k.EnrolledAt, now), k.From, string(k.Proof), used})
	}
	return cli.Table(c.App.Writer, rows)
}
