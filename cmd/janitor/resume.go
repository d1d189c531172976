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
	return &ucli.StringFlag{
		Name: "brake", Usage: "lift the brake `NAME` instead: restored, stranger or silence",
		Action: func(_ *ucli.Context, name string) error {
			switch name {
			case lease.BrakeRestored, lease.BrakeStranger, lease.BrakeSilence:
				return nil
			}
			return cli.Usage("a person can lift the brakes restored, stranger and silence, not %q; rate, clock and health lift where their cause ends", name)
		},
	}
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
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	seen, lost := behind(snapshot, name)
	done := lifted{
		Registry: snapshot.Registry.UUID, Brake: name, Lifted: liftable(snapshot, name), Leases: slices.AppendSeq([]string{}, maps.Keys(seen)),
	}
	slices.Sort(done.Leases)
	for _, id := range lost {
		cli.Say(c, "no record speaks of %s, and its sidecar has seen a lease: it stays held until it has one again; say `lease recover %s`, or `lease adopt %s` where that refuses", id, id, id)
	}
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
	if err := cli.Confirm(c, "lift brake "+name+", and so end what lapses by the registry as it is", func() error {
		return done.still(c, store)
	}); err != nil {
		return err
	}
	by := lease.By{Actor: cli.Actor(), Reason: "brake " + name + " lifted"}
	for _, id := range done.Leases {
		if _, _, err := store.UpdateLease(c.Context, id, func(l lease.Lease) (lease.Lease, error) {
			return l.CatchUp(time.Now(), seen[id], by), nil
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

// still refuses if the brake is held for more, or for another reason, than a person was shown.
func (l lifted) still(c *ucli.Context, store *etcd.Store) error {
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	if snapshot.Registry.UUID != l.Registry {
		return cli.Overtaken("the registry was %s and is %s", l.Registry, snapshot.Registry.UUID)
	}
	for _, b := range liftable(snapshot, l.Brake) {
		if !slices.ContainsFunc(l.Lifted, func(shown lease.Brake) bool {
			return shown.Scope == b.Scope && shown.Since.Equal(b.Since) && shown.Reason == b.Reason && shown.Count >= b.Count
		}) {
			return cli.Overtaken("brake %s trips anew: %s", b.Name, b.Reason)
		}
	}
	seen, _ := behind(snapshot, l.Brake)
	for id := range seen {
		if !slices.Contains(l.Leases, id) {
			return cli.Overtaken("%s came to the leases that the registry holds in an older state", id)
		}
	}
	return nil
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

// behind are the leases that are older in the registry than their sidecars have seen them, now or when the last sweep
// decided, with what they have seen; and the instances of which no record speaks at all, though a sidecar has seen one.
func behind(s lease.Snapshot, name string) (seen map[string]int64, lost []string) {
	seen = map[string]int64{}
	if name != lease.BrakeRestored {
		return seen, nil
	}
	records := map[string]int64{}
	for _, l := range s.Leases {
		records[l.InstanceID] = l.Changes
	}
	for _, b := range s.Sweep.Brakes {
		if _, known := records[b.Scope]; known && b.Name == name {
			seen[b.Scope] = int64(b.Count)
		} else if b.Name == name && b.Scope != "" {
			lost = append(lost, b.Scope)
		}
	}
	for id, hb := range s.Heartbeats {
		if hb.Held {
			seen[id] = max(seen[id], hb.Changes)
		}
	}
	maps.DeleteFunc(seen, func(id string, changes int64) bool {
		recorded, known := records[id]
		return !known || changes <= recorded
	})
	return seen, lost
}
