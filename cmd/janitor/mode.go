package main

import (
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

// modeCommand sets what janitors may do.
func modeCommand(name string) *ucli.Command {
	usage := map[string]string{
		"arm":     "let janitors end what has lapsed; prints what that would be, and asks",
		"observe": "let janitors report only",
		"pause":   "stop all acting at once, whoever leads",
		"resume":  "end a pause: go back to what was before it",
	}
	description := "Writes of janitors compare the registry, so this takes effect on the very next one."
	flags := append(append(cli.StoreFlags(), cli.LogFlags()...), cli.OutputFlag(),
		cli.ReasonFlag("whoever finds it so, and for the audit log"))
	if name == "arm" {
		flags = append(flags, cli.AccountFlag(), cli.YesFlag(), allFlag())
		description += "\nThe plan is that of the janitor that sweeps: it is published while the registry observes or is paused. Without a\n" +
			"fresh one, or where the janitor cannot list a location, nothing is armed. Nor does --yes arm a registry that somebody has paused:\n" +
			"`janitor resume` ends a pause, or the answer on a terminal. Exit code 4: refused."
	}
	if name == "pause" {
		description += "\n\n   janitor pause --reason \"incident 4711: wrong AMI, do not end the evidence\""
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
			shown := lease.Registry{}
			if name == "arm" {
				if shown, err = previewArm(c, store, log); err != nil {
					return err
				}
			}
			return setMode(c, store, name, shown)
		},
	}
}

// setMode sets the mode, unless the registry has changed since a person was shown it. A zero shown was shown to nobody.
func setMode(c *ucli.Context, store *etcd.Store, name string, shown lease.Registry) error {
	before, after, err := store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
		if shown.UUID != "" {
			if err := overtaken(shown, r); err != nil {
				return r, err
			}
		}
		switch now, by := time.Now(), (lease.By{Actor: cli.Actor(), Reason: c.String("reason")}); name {
		case "arm":
			return r.To(now, lease.ModeArmed, by), nil
		case "observe":
			return r.To(now, lease.ModeObserve, by), nil
		case "pause":
			return r.To(now, lease.ModePaused, by), nil
		default:
			return r.Resume(now, by), nil
		}
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
