package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

// brakeFlag is what `janitor resume` needs to lift a brake rather than a pause.
func brakeFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "brake", Usage: "lift the brake `NAME` instead: restored, stranger or silence"}
}

// lifted is a brake that was lifted, for programs.
type lifted struct {
	Registry string        `json:"registry"`
	Brake    string        `json:"brake"`
	Lifted   []lease.Brake `json:"lifted"`
	Leases   []string      `json:"leases"` // whose state in the registry is now the newest, though a sidecar has seen a later one
}

// resumeBrake lifts a brake by a person's word.
func resumeBrake(c *ucli.Context, store *etcd.Store, name string) error {
	switch name {
	case lease.BrakeRestored, lease.BrakeStranger, lease.BrakeSilence:
	default:
		return cli.Usage("brake %q is lifted by nobody: it lifts where its cause ends; a person can lift restored, stranger and silence", name)
	}
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	done := lifted{Registry: snapshot.Registry.UUID, Brake: name, Lifted: liftable(snapshot, name), Leases: behind(snapshot, name)}
	if len(done.Lifted)+len(done.Leases) == 0 {
		return done.say(c, fmt.Sprintf("brake %s is not held", name))
	}
	for _, b := range done.Lifted {
		cli.Say(c, "brake %s has been held since %s: %s", b.Name, cli.When(b.Since, time.Now()), b.Reason)
	}
	if len(done.Leases) > 0 {
		cli.Say(c, "%d leases are older in the registry than their sidecars have seen them, and would be taken as they are: %s",
			len(done.Leases), strings.Join(done.Leases[:min(5, len(done.Leases))], " "))
	}
	if err := cli.Confirm(c, "lift brake "+name+", and so end what lapses by the registry as it is"); err != nil {
		return err
	}
	by := lease.By{Actor: cli.Actor(), Reason: "brake " + name + " lifted"}
	for _, id := range done.Leases {
		seen := snapshot.Heartbeats[id].Changes
		if _, _, err := store.UpdateLease(c.Context, id, func(l lease.Lease) (lease.Lease, error) {
			return l.CatchUp(time.Now(), seen, by), nil
		}); err != nil {
			return err
		}
	}
	if len(done.Lifted) > 0 {
		if _, _, err := store.UpdateRegistry(c.Context, func(r lease.Registry) (lease.Registry, error) {
			return r.Lift(time.Now(), name, done.Lifted, by.Actor), nil
		}); err != nil {
			return err
		}
	}
	return done.say(c, fmt.Sprintf("brake %s lifted", name))
}

func (l lifted) say(c *ucli.Context, sentence string) error {
	if cli.WantsJSON(c) {
		return cli.JSON(c, l)
	}
	_, err := fmt.Fprintf(c.App.Writer, "registry %s: %s\n", l.Registry, sentence)
	return err
}

// liftable are the brakes of that name that were held when the last sweep decided, and are not lifted yet. A brake of one
// lease has no end but that its record is as new as its sidecar knows.
func liftable(s lease.Snapshot, name string) []lease.Brake {
	return slices.DeleteFunc(s.Registry.Stands(s.Sweep.Brakes), func(b lease.Brake) bool {
		return b.Name != name || name != lease.BrakeSilence && !b.Standing()
	})
}

// behind are the leases that are older in the registry than their sidecars have seen them.
func behind(s lease.Snapshot, name string) []string {
	ids := []string{}
	if name != lease.BrakeRestored {
		return ids
	}
	records := map[string]lease.Lease{}
	for _, l := range s.Leases {
		records[l.InstanceID] = l
	}
	for _, id := range slices.Sorted(maps.Keys(s.Heartbeats)) {
		if l, known := records[id]; known && s.Heartbeats[id].Held && s.Heartbeats[id].Changes > l.Changes {
			ids = append(ids, id)
		}
	}
	return ids
}
