package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/etcd"
)

func watchCommand() *ucli.Command {
	return &ucli.Command{
		Name: "watch", Usage: "print changes of leases as they happen", ArgsUsage: "[ID…]",
		Description: "Prints one line for each change of a lease: when, which instance, what, by whom, from which date to which,\n" +
			"and why. It also says whose sidecar starts to renew, and whose heartbeats are lost. It runs until it is\n" +
			"interrupted, also through outages of etcd, which it reports on stderr; what happened during an outage is\n" +
			"printed afterwards, as far as the histories go back.\n\n" +
			"   lease watch\n" +
			"   lease watch --holder ada --initial\n" +
			"   lease watch nightly-2027-01-31 --no-heartbeats\n" +
			"   lease watch --state revoked -o json | jq -r '.instance_id'\n\n" +
			"With -o json each line is an object: a transition as `lease history` has it, with the lease's state, holder,\n" +
			"launch and labels beside it, and the address of its sidecar. To follow who lives:\n\n" +
			"   lease watch --label role=monitor --initial -o json",
		Flags: append(append(cli.StoreFlags(), filterFlags()...), cli.OutputFlag(),
			&ucli.BoolFlag{Name: "initial", Usage: "start with the leases as they are now"},
			&ucli.BoolFlag{Name: "no-heartbeats", Usage: "leave out heartbeats"}),
		Action: registry.WithStore(readWatched, watch),
	}
}

func watch(c *ucli.Context, store *etcd.Store, wanted watched) error {
	snapshot, err := store.Snapshot(c.Context)
	if err != nil {
		return err
	}
	if err := wanted.onRecord(snapshot); err != nil {
		return err
	}
	sayBad(c, snapshot.Bad)
	w := newWatcher(snapshot, wanted)
	if c.Bool("initial") {
		if err := tell(c, w.initial(snapshot, time.Now())); err != nil {
			return err
		}
	}
	cli.Say(c, "watching registry %s; press Ctrl-C to stop", snapshot.Registry.UUID)
	from := lease.Snapshot{Revision: snapshot.Revision} // without the records, which would otherwise stay in memory
	snapshot = lease.Snapshot{}
	saidBad := map[string]bool{} // unreadable heartbeats that were reported, each once
	changes, outages := store.Watch(c.Context, from), watchOutages(c.Context, store)
	for {
		select {
		case change, open := <-changes:
			if !open {
				return nil // interrupted, which is the normal end
			}
			if change.Snapshot != nil {
				cli.Say(c, "the watch was interrupted and has restarted; the missed changes follow")
				sayBad(c, change.Snapshot.Bad)
			}
			if change.Bad != nil && !saidBad[change.Bad.ID] {
				saidBad[change.Bad.ID] = true
				sayBad(c, []lease.BadRecord{*change.Bad})
			}
			if err := tell(c, w.see(change, time.Now())); err != nil {
				return err
			}
		case text := <-outages:
			cli.Say(c, "lease: %s", text)
		}
	}
}

func tell(c *ucli.Context, lines []watchLine) error {
	for _, l := range lines {
		if cli.WantsJSON(c) {
			if err := json.NewEncoder(c.App.Writer).Encode(l); err != nil {
				return err
			}
			continue
		}
		if err := cli.Table(c.App.Writer, [][]string{l.columns()}); err != nil {
			return err
		}
	}
	return nil
}

// outageProbe is how often etcd is probed: a watch on a dead etcd reports nothing.
const outageProbe = 2 * time.Second

// watchOutages reports when etcd stops answering and when it answers again, until ctx ends.
func watchOutages(ctx context.Context, store *etcd.Store) <-chan string {
	told := make(chan string)
	go func() {
		ticker := time.NewTicker(outageProbe)
		defer ticker.Stop()
		var since time.Time // with a monotonic reading; zero: etcd answers
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			text, err := "", store.Healthy(ctx)
			switch {
			case err != nil && since.IsZero():
				since, text = time.Now(), fmt.Sprintf("etcd is unhealthy, so changes may appear late: %v", registry.Advise(err))
			case err == nil && !since.IsZero():
				text = fmt.Sprintf("etcd answers again, after %s", time.Since(since).Round(time.Second))
				since = time.Time{}
			}
			if text == "" || ctx.Err() != nil {
				continue
			}
			select {
			case told <- text:
			case <-ctx.Done():
			}
		}
	}()
	return told
}
