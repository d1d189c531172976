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

func joinTokenCommand() *ucli.Command {
	return &ucli.Command{
		Name: "join-token", Usage: "let an instance enrol with the API for an hour", ArgsUsage: "ID",
		Description: "Prints a token for an instance whose user-data has none: one that was adopted, or launched with user-data that\n" +
			"cannot be wrapped. It lets one sidecar in, of that instance alone, within an hour; another one replaces it.\n\n" +
			"   lease join-token i-0123456789abcdef0 > token     # and on the instance:\n" +
			"   sidecar run --api https://lapse.example.com:8443 --join-token-file token",
		Flags:  append(cli.StoreFlags(), cli.OutputFlag()),
		Action: registry.WithStore(namedInstance, joinToken),
	}
}

// namedInstance is the one instance id that was given.
func namedInstance(c *ucli.Context) (string, error) {
	ids, err := namedIfAny(c)
	switch {
	case err != nil:
		return "", err
	case len(ids) != 1:
		return "", cli.Usage("give exactly one instance id; see `lease %s --help`", c.Command.Name)
	case !lease.IsInstanceID(ids[0]):
		return "", cli.Usage("%q is not the id of an instance; find that with `lease list`", ids[0])
	}
	return ids[0], nil
}

func joinToken(c *ucli.Context, store *etcd.Store, id string) error {
	l, err := store.Lease(c.Context, id)
	if err != nil {
		return err
	}
	if err := l.Renewable("let in"); err != nil {
		return err
	}
	token, err := lease.NewJoinToken(nil)
	if err != nil {
		return err
	}
	_, e, err := store.UpdateEnrolment(c.Context, id, func(e lease.Enrolment) (lease.Enrolment, error) {
		return e.Invite(time.Now(), lease.HashToken(token), lease.By{Actor: cli.Actor()}), nil
	})
	if err != nil {
		return err
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, map[string]any{"instance_id": id, "join_token": token, "until": e.Invitation.Until})
	}
	cli.Say(c, "%s may enrol one key with this token until %s", id, cli.When(e.Invitation.Until, time.Now()))
	_, err = fmt.Fprintln(c.App.Writer, token)
	return err
}
