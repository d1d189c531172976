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

// modeCommand changes the mode by calling to. show, unless it is nil, shows the effect, asks, and returns the registry
// as it was shown; zero if it showed nothing.
func modeCommand(name, usage string, to func(lease.Registry, time.Time, lease.By) lease.Registry,
	show func(*ucli.Context, *etcd.Store) (lease.Registry, error),
) *ucli.Command {
	return &ucli.Command{
		Name: name, Usage: usage,
		Flags:       append(cli.StoreFlags(), cli.OutputFlag(), cli.ReasonFlag("the registry and the audit log")),
		Description: "Each write of a janitor checks the registry, so this takes effect with the next one.",
		Action: func(c *ucli.Context) error {
			store, closeStore, err := registry.Store(c, nil)
			if err != nil {
				return err
			}
			defer closeStore()
			shown := lease.Registry{}
			if show != nil {
				if shown, err = show(c, store); err != nil {
					return err
				}
			}
			return setMode(c, store, to, shown)
		},
	}
}

// setMode sets the mode, unless the registry has changed since it was shown. A zero shown means that it was not shown.
func setMode(c *ucli.Context, store *etcd.Store, to func(lease.Registry, time.Time, lease.By) lease.Registry, shown lease.Registry) error {
	before, after, err := store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
		if shown.UUID != "" {
			if err := outdated(shown, r); err != nil {
				return r, err
			}
		}
		return to(r, time.Now(), lease.By{Actor: cli.Actor(), Reason: c.String("reason")}), nil
	})
	if err != nil {
		return err
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, change{
			Registry: after.UUID, Before: before.Mode, Mode: after.Mode, BeforeBy: before.ModeBy, BeforeReason: before.ModeReason,
		})
	}
	if who := cli.WhoSet(before); who != "" && (before.Mode == lease.ModePaused || before.Mode == after.Mode) {
		cli.Say(c, "it was set to %s %s", before.Mode, who)
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

	BeforeBy     string `json:"before_by,omitzero"` // who had set the mode before, and why
	BeforeReason string `json:"before_reason,omitzero"`
}

func toMode(mode lease.Mode) func(lease.Registry, time.Time, lease.By) lease.Registry {
	return func(r lease.Registry, now time.Time, by lease.By) lease.Registry { return r.To(now, mode, by) }
}
