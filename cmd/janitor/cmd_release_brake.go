package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func releaseBrakeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "release-brake", Usage: "release a safety brake that is engaged", ArgsUsage: "NAME",
		Description: "The mode stays as it is. `janitor status` names the brakes that are engaged:\n\n" +
			"   rollback    hold everything back until a person has checked: extend\n" +
			"   unwatched   every instance you want to keep (`lease extend`), read\n" +
			"               `janitor sweep --dry-run --all`, then release the brake.\n" +
			"               If a sidecar has seen a later state of its lease, the\n" +
			"               state in the registry is valid from then on\n" +
			"   heartbeats  releasing it declares that the instances without a\n" +
			"               heartbeat are dead; more of them engage it again. Valid\n" +
			"               for two hours\n\n" +
			"   janitor release-brake rollback\n\n" +
			"It then waits up to 10 s to see whether the next sweep engages the brake again. Exit code 5: it does.",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), cli.YesFlag(), cli.ReasonFlag("the audit log")),
		Action: registry.WithStore(namedBrake, func(c *ucli.Context, store *etcd.Store, name string) error {
			return releaseBrake(c, store, name, againMax)
		}),
	}
}

// namedBrake is the brake on the command line, if it is one that a person can release.
func namedBrake(c *ucli.Context) (string, error) {
	const those = "a person can release the brakes rollback, unwatched and heartbeats"
	switch name := c.Args().First(); {
	case c.Args().Len() > 1:
		return "", cli.Usage("give exactly one brake; see `janitor release-brake --help`")
	case name == "":
		return "", cli.Usage("give the name of a brake: %s; `janitor status` names those that are engaged", those)
	case slices.Contains([]string{lease.BrakeRollback, lease.BrakeUnwatched, lease.BrakeHeartbeats}, name):
		return name, nil
	default:
		return "", cli.Usage("%s, not %q; rate, clock and health are released when their cause ends", those, name)
	}
}

// lifted is a released brake, for programs.
type lifted struct {
	Registry string        `json:"registry"`
	Brake    string        `json:"brake"`
	Lifted   []lease.Brake `json:"released"`
	Leases   []string      `json:"leases"` // whose state in the registry is valid from now on, although a sidecar has seen a later one
	Behind   []string      `json:"behind"` // leases that the next sweep holds back one by one
	Again    []lease.Brake `json:"again"`  // brakes of that name that the next sweep engaged again; also empty without such a sweep
}

// Bounds of the wait for the sweep that follows a release. Leaders sweep at once when the registry changes.
const (
	againMax   = 10 * time.Second
	againEvery = 200 * time.Millisecond
)

// releaseBrake releases a brake, and waits for a limited time to see whether the next sweep engages it again.
func releaseBrake(c *ucli.Context, store *etcd.Store, name string, patience time.Duration) error {
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	seen, lost := behind(snapshot, name)
	done := lifted{
		Registry: snapshot.Registry.UUID, Brake: name, Lifted: liftable(snapshot, name), Leases: slices.AppendSeq([]string{}, maps.Keys(seen)),
		Behind: []string{}, Again: []lease.Brake{},
	}
	slices.Sort(done.Leases)
	for _, id := range lost {
		cli.Say(c, "there is no record of %s, but its sidecar has seen a lease: the brake stays engaged for it until it has one again; run `lease recover %s`, or `lease adopt %s` if that refuses", id, id, id)
	}
	if len(done.Lifted)+len(done.Leases) == 0 {
		return done.say(c, fmt.Sprintf("brake %s is not engaged", name))
	}
	for _, b := range done.Lifted {
		cli.Say(c, "brake %s has been engaged since %s: %s", b.Name, cli.When(b.Since, time.Now()), b.Reason)
	}
	if len(done.Leases) > 0 {
		cli.Say(c, "%d leases are older in the registry than their sidecars have seen, and would be accepted as they are: %s",
			len(done.Leases), strings.Join(done.Leases[:min(5, len(done.Leases))], " "))
	}
	if err := cli.Confirm(c, "release brake "+name+" and terminate everything that the registry considers expired", func() error {
		return done.still(c, store)
	}); err != nil {
		return err
	}
	at, err := done.lift(c.Context, store, seen, lease.By{Actor: cli.Actor(), Reason: c.String("reason")})
	if err != nil {
		return err
	}
	return done.follow(c, store, at, seen, lost, patience)
}

// lift records that a person has released the brake, and returns the revision of the last write.
func (l lifted) lift(ctx context.Context, store *etcd.Store, seen map[string]int64, by lease.By) (revision int64, err error) {
	noted := lease.By{Actor: by.Actor, Reason: "brake " + l.Brake + " released"}
	if by.Reason != "" {
		noted.Reason += ": " + by.Reason
	}
	for _, id := range l.Leases {
		_, after, err := store.UpdateLease(ctx, id, func(caught lease.Lease) (lease.Lease, error) {
			return caught.CatchUp(time.Now(), seen[id], noted), nil
		})
		if err != nil {
			return revision, err
		}
		revision = max(revision, after.Revision)
	}
	if len(l.Lifted) == 0 {
		return revision, nil
	}
	_, after, err := store.UpdateRegistry(ctx, func(r lease.Registry) (lease.Registry, error) {
		return r.Lift(time.Now(), l.Brake, l.Lifted, by), nil
	})
	return max(revision, after.Revision), err
}

// follow reports whether the sweep after the release engages the brake again.
func (l lifted) follow(c *ucli.Context, store *etcd.Store, at int64, seen map[string]int64, lost []string, patience time.Duration) error {
	checkpoint := lease.Checkpoint{}
	swept, err := cli.Poll(c.Context, againEvery, patience, func() (_ bool, err error) {
		checkpoint, err = store.Checkpoint(c.Context)
		return err == nil && checkpoint.Revision > at, err // janitors' writes compare the registry: that sweep has read what was written
	})
	if err != nil {
		return fmt.Errorf("brake %s was released, but whether the next sweep engages it again is unknown (%w); see `janitor status`", l.Brake, err)
	}
	if !swept {
		cli.Say(c, "no sweep has followed within %s; after the next one, `janitor status` shows whether the brake is engaged again", patience)
		return l.say(c, fmt.Sprintf("brake %s released", l.Brake))
	}
	registry, err := store.Registry(c.Context)
	if err != nil {
		return err
	}
	for _, b := range registry.Stands(checkpoint.Brakes) {
		if b.Name == l.Brake {
			l.Again = append(l.Again, b)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(checkpoint.Behind)) {
		caught := checkpoint.Behind[id] <= seen[id] // by a sweep that had started before the release
		if l.Brake == lease.BrakeRollback && !caught && !slices.Contains(lost, id) {
			l.Behind = append(l.Behind, id)
		}
	}
	if len(l.Again)+len(l.Behind) == 0 {
		return l.say(c, fmt.Sprintf("brake %s released", l.Brake))
	}
	if cli.WantsJSON(c) {
		if err := cli.JSON(c, l); err != nil {
			return err
		}
	}
	if len(l.Again) == 0 {
		return cli.WithCode(cli.ExitHeld, fmt.Errorf("brake %s was released, but the next sweep holds %s back again, because sidecars have seen later changes since; release it again, and see `janitor status`",
			l.Brake, strings.Join(l.Behind, ", ")))
	}
	b := l.Again[0]
	return cli.WithCode(cli.ExitHeld, fmt.Errorf("brake %s was released, and the next sweep engaged it again (%s): %s; fix its cause first, and see `janitor status`",
		l.Brake, cmp.Or(b.Scope, "everywhere"), b.Reason))
}

// still refuses if the brake is engaged for more, or for another reason, than was shown.
func (l lifted) still(c *ucli.Context, store *etcd.Store) error {
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	if snapshot.Registry.UUID != l.Registry {
		return cli.Outdated("the registry changed from %s to %s", l.Registry, snapshot.Registry.UUID)
	}
	for _, b := range liftable(snapshot, l.Brake) {
		if !slices.ContainsFunc(l.Lifted, func(shown lease.Brake) bool {
			return shown.Scope == b.Scope && shown.Since.Equal(b.Since) && shown.Reason == b.Reason && shown.Count >= b.Count
		}) {
			return cli.Outdated("brake %s was engaged again: %s", b.Name, b.Reason)
		}
	}
	seen, _ := behind(snapshot, l.Brake)
	for id := range seen {
		if !slices.Contains(l.Leases, id) {
			return cli.Outdated("%s was added to the leases that are older in the registry", id)
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

// liftable are the brakes of that name that were engaged at the last sweep, and are not released yet.
func liftable(s lease.Snapshot, name string) []lease.Brake {
	return slices.DeleteFunc(s.Registry.Stands(s.Checkpoint.Brakes), func(b lease.Brake) bool {
		return b.Name != name || name != lease.BrakeHeartbeats && !b.Standing()
	})
}

// behind are the leases that are older in the registry than their sidecars have seen them, now or at the last sweep,
// with the change that was seen; and the instances without any record, although a sidecar has seen one.
func behind(s lease.Snapshot, name string) (seen map[string]int64, lost []string) {
	seen = map[string]int64{}
	if name != lease.BrakeRollback {
		return seen, nil
	}
	records := map[string]int64{}
	for _, l := range s.Leases {
		records[l.InstanceID] = l.Changes
	}
	for id, changes := range s.Checkpoint.Behind {
		if _, known := records[id]; known {
			seen[id] = changes
		} else {
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
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
