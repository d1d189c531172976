package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

// lookEvery is the pause between two looks at instances that start; EC2 takes some 10 s to start one.
const lookEvery = 2 * time.Second

// await waits until the leased instances are what --wait asks for, for as long as --timeout says.
func (o order) await(c *ucli.Context, cloud *ec2.Cloud, store *etcd.Store, r *ec2.Result) error {
	until := map[string]func(context.Context, map[string]bool) error{
		"active":  func(ctx context.Context, ids map[string]bool) error { return running(ctx, cloud, ids) },
		"claimed": func(ctx context.Context, ids map[string]bool) error { return claimed(ctx, store, ids) },
	}[o.wait]
	if until == nil {
		return nil
	}
	missing := map[string]bool{}
	for _, l := range r.Leases {
		if l.Live() {
			missing[l.InstanceID] = true
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, o.Patience)
	defer cancel()
	err := until(ctx, missing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = cli.WithCode(cli.ExitPartly, fmt.Errorf("launched, but not %s after %s: %s; look with `lease why`", o.wait, brief(o.Patience), list(missing)))
	}
	for n, l := range r.Leases { // a sidecar may have claimed them meanwhile
		if fresh, err := store.Lease(c.Context, l.InstanceID); err == nil {
			r.Leases[n] = fresh
		}
	}
	return coded(err)
}

// running waits until EC2 says that the instances run, and removes from ids those that do.
func running(ctx context.Context, cloud *ec2.Cloud, ids map[string]bool) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		listing, err := cloud.Describe(ctx, sorted(ids))
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		for _, i := range listing.Instances {
			switch {
			case i.State == lease.InstanceRunning:
				delete(ids, i.ID)
			case i.State != lease.InstancePending:
				return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s was launched, and is %s before it ran; see `lease why %s`", i.ID, i.State, i.ID))
			}
		}
		if len(ids) == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claimed waits until a sidecar beats for each instance, and removes from ids those that have one.
func claimed(ctx context.Context, store *etcd.Store, ids map[string]bool) error {
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := store.Watch(ctx, snapshot)
	change := lease.Change{Snapshot: &snapshot}
	for {
		if err := heed(change, ids); err != nil || len(ids) == 0 {
			return err
		}
		var open bool
		if change, open = <-changes; !open {
			return ctx.Err()
		}
	}
}

// heed removes from ids those for which a sidecar beats, and refuses if one of them was taken away.
func heed(change lease.Change, ids map[string]bool) error {
	leases := []lease.Lease{}
	if change.Snapshot != nil {
		leases = change.Snapshot.Leases
		for id := range change.Snapshot.Heartbeats {
			delete(ids, id)
		}
	}
	if change.Heartbeat != nil {
		delete(ids, change.Heartbeat.InstanceID)
	}
	if change.Lease != nil {
		leases = append(leases, *change.Lease)
	}
	for _, l := range leases {
		if !l.ClaimedAt.IsZero() {
			delete(ids, l.InstanceID)
		}
		if ids[l.InstanceID] && !l.Live() {
			return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s was launched, and its lease is %s before a sidecar claimed it; see `lease why %s`",
				l.InstanceID, l.State, l.InstanceID))
		}
	}
	return nil
}

func list(ids map[string]bool) string { return strings.Join(sorted(ids), ", ") }
