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
		"resume":  "go back to what was before the pause, or lift a brake",
	}
	description := "Writes of janitors compare the registry, so this takes effect on the very next one."
	flags := append(append(cli.StoreFlags(), cli.LogFlags()...), cli.OutputFlag())
	if name == "arm" {
		flags = append(append(append(flags, placeFlags()...), policyFlags()...), cli.YesFlag(), allFlag())
		description += " The plan is made\nby the policy flags given here; janitors go on with their own."
	}
	if name == "resume" {
		flags = append(flags, brakeFlag(), cli.YesFlag())
		description += " With --brake\nit lifts a brake instead, and leaves the mode alone; `janitor status` names those that are held:\n\n" +
			"   restored, stranger  hold everything until a person has looked: extend what must live (`lease extend`), read\n" +
			"                       `janitor sweep --dry-run --all`, then lift it. Leases whose sidecars know a later state\n" +
			"                       are from then on taken as the registry has them\n" +
			"   silence             those that are silent now are dead indeed; more of them trip it again. Valid for two hours\n\n" +
			"   janitor resume --brake restored"
	}
	return &ucli.Command{
		Name: name, Usage: usage[name], Flags: flags, Description: description,
		Action: func(c *ucli.Context) error {
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
			if brake := c.String("brake"); brake != "" {
				return resumeBrake(c, store, brake)
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
	if cli.WantsJSON(c) {
		return cli.JSON(c, change{Registry: after.UUID, Before: before.Mode, Mode: after.Mode})
	}
	said := fmt.Sprintf("%s → %s", before.Mode, after.Mode)
	switch before.Mode {
	case after.Mode:
		said = fmt.Sprintf("%s already", after.Mode)
	case lease.ModePaused:
		said += fmt.Sprintf("; it was paused %s", cli.When(before.ModeSince, time.Now()))
	}
	_, err = fmt.Fprintf(c.App.Writer, "registry %s: %s\n", after.UUID, said)
	return err
}

// change is a change of the mode for programs.
type change struct {
	Registry string     `json:"registry"`
	Before   lease.Mode `json:"before"`
	Mode     lease.Mode `json:"mode"`
}

// previewArm shows what an armed janitor would do at its next sweep, and asks.
func previewArm(c *ucli.Context, store *etcd.Store) error {
	p, err := readPolicy(c)
	if err != nil {
		return err
	}
	clouds, err := places(c, nil)
	if err != nil {
		return err
	}
	view, plan, err := janitor.Preview(c.Context, clouds, store, p, time.Now)
	if err != nil {
		return err
	}
	out := c.App.Writer
	if cli.WantsJSON(c) {
		out = c.App.ErrWriter // the plan is for who is asked; programs get what came of it
	}
	if err := newPlan(view, plan, c.Bool("all")).write(out); err != nil {
		return err
	}
	registry := view.Snapshot.Registry
	question := "arm registry " + registry.UUID
	if registry.Mode == lease.ModePaused {
		question += ", which was paused " + cli.When(registry.ModeSince, time.Now())
	}
	return cli.Confirm(c, question)
}
