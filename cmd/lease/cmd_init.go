package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

func initCommand() *ucli.Command {
	return &ucli.Command{
		Name: "init", Usage: "create the registry",
		Description: "A new registry observes: janitors report what they would terminate, and terminate nothing until `janitor\n" +
			"arm`. A registry that exists already is left as it is; --armed counts only where it is created.\n\n" +
			"   lease init\n" +
			"   lease init --namespace staging --armed\n\n" +
			"--uuid recreates a lost registry under the UUID that its instances bear in their tag lapse:registry; `lease\n" +
			"recover` then rebuilds their leases.",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(),
			&ucli.BoolFlag{Name: "armed", Usage: "let janitors terminate from the start"},
			&ucli.StringFlag{Name: "uuid", Usage: "create the registry under `UUID`, to recover a lost one"}),
		Action: cli.WithStore(readUUID, initialize),
	}
}

// readUUID reads the UUID of a registry that was lost; empty if none was.
func readUUID(c *ucli.Context) (string, error) {
	lost := c.String("uuid")
	if _, err := uuid.Parse(lost); lost != "" && (err != nil || len(lost) != len(uuid.Nil.String())) {
		return "", cli.Usage("--uuid %q is not a UUID; copy it from an instance's tag %s", lost, lease.TagRegistry)
	}
	return lost, nil
}

func initialize(c *ucli.Context, store *etcd.Store, lost string) error {
	mode := lease.ModeObserve
	if c.Bool("armed") {
		mode = lease.ModeArmed
	}
	registry, created, err := create(c.Context, store, cmp.Or(lost, uuid.NewString()), mode)
	if err != nil {
		return err
	}
	if lost != "" && registry.UUID != lost {
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("namespace %s already has registry %s; choose another --namespace, or leave out --uuid",
			c.String("namespace"), registry.UUID))
	}
	return printRegistry(c, registry, created, mode)
}

// create makes the registry, or returns the one that exists.
func create(ctx context.Context, store *etcd.Store, id string, mode lease.Mode) (registry lease.Registry, created bool, err error) {
	registry, err = store.Registry(ctx)
	if !cli.Is[*lease.NotFoundError](err) {
		return registry, false, err
	}
	made := lease.NewRegistry(time.Now(), id, mode)
	made.ModeBy = cli.Actor()
	registry, err = store.PutRegistry(ctx, made)
	if cli.Is[*lease.ConflictError](err) { // somebody else created it first
		registry, err = store.Registry(ctx)
		return registry, false, err
	}
	if err != nil {
		err = cli.WithCode(cli.ExitUnknown, fmt.Errorf("the registry may or may not have been created (%w); run `lease init` again", cli.Advise(err)))
	}
	return registry, true, err
}

func printRegistry(c *ucli.Context, r lease.Registry, created bool, asked lease.Mode) error {
	switch {
	case !created && asked == lease.ModeArmed && r.Mode != lease.ModeArmed:
		cli.Say(c, "the registry already exists and was not changed; arm it with `janitor arm`")
	case !created:
		cli.Say(c, "the registry already exists and was not changed")
	case asked == lease.ModeObserve:
		cli.Say(c, "next: start `janitor run`, read what it would terminate, then run `janitor arm`")
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, r)
	}
	_, err := fmt.Fprintf(c.App.Writer, "registry %s in namespace %s, mode %s\n", r.UUID, c.String("namespace"), r.Mode)
	return err
}
