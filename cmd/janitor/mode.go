package main

import (
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
	"lapse/lease/etcd"
)

// modeCommand sets what janitors may do.
func modeCommand(name string) *ucli.Command {
	usage := map[string]string{
		"arm":     "let janitors end what has lapsed; prints what that would be, and asks",
		"observe": "let janitors report only",
		"pause":   "stop all acting at once, whoever leads",
		"resume":  "go back to what was before the pause",
	}
	flags := append(cli.StoreFlags(), cli.LogFlags()...)
	if name == "arm" {
		flags = append(append(append(flags, placeFlags()...), policyFlags()...), cli.YesFlag())
	}
	return &ucli.Command{
		Name: name, Usage: usage[name], Flags: flags,
		Description: "Writes of janitors compare the registry, so this takes effect on the very next one.",
		Action: func(c *ucli.Context) error {
			if c.Args().Present() {
				return cli.Usage("`janitor %s` takes no arguments", name)
			}
			log, err := cli.Logger(c)
			if err != nil {
				return err
			}
			store, closeStore, err := cli.Store(c, log)
			if err != nil {
				return err
			}
			defer closeStore()
			if name == "arm" {
				if err := previewArm(c, store); err != nil {
					return err
				}
			}
			return setMode(c, store, name)
		},
	}
}

func setMode(c *ucli.Context, store *etcd.Store, name string) error {
	before, after, err := store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
		switch now := time.Now(); name {
		case "arm":
			return r.To(now, lease.ModeArmed), nil
		case "observe":
			return r.To(now, lease.ModeObserve), nil
		case "pause":
			return r.To(now, lease.ModePaused), nil
		default:
			return r.Resume(now), nil
		}
	})
	if err != nil {
		return err
	}
	if before.Mode == after.Mode {
		_, err = fmt.Fprintf(c.App.Writer, "registry %s: %s already\n", after.UUID, after.Mode)
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "registry %s: %s → %s\n", after.UUID, before.Mode, after.Mode)
	return err
}

// previewArm shows what an armed janitor would do at its next sweep, and asks.
func previewArm(c *ucli.Context, store *etcd.Store) error {
	p, err := readPolicy(c)
	if err != nil {
		return err
	}
	clouds, err := places(c)
	if err != nil {
		return err
	}
	view, plan, err := janitor.Preview(c.Context, clouds, store, p, time.Now)
	if err != nil {
		return err
	}
	if err := printPlan(c, view, plan); err != nil {
		return err
	}
	return cli.Confirm(c, fmt.Sprintf("arm registry %s", view.Snapshot.Registry.UUID))
}
