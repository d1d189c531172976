package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
	"lapse/lease/etcd"
)

// lookEvery is the pause between two descriptions of starting instances; EC2 takes about 10 s to start one.
const lookEvery = 2 * time.Second

// await waits until the leased instances are what --wait asks for, for as long as --timeout says.
func (o order) await(c *ucli.Context, cloud *ec2.Cloud, store *etcd.Store, r *launch.Result) error {
	state := map[string]string{"running": "running", "heartbeat": "renewing"}[o.wait]
	said := newMeter(c, state, o.Patience)
	until := map[string]func(context.Context, map[string]bool) error{
		"running":   func(ctx context.Context, ids map[string]bool) error { return running(ctx, cloud, ids, said) },
		"heartbeat": func(ctx context.Context, ids map[string]bool) error { return claimed(ctx, store, ids, said) },
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
		err = cli.WithCode(cli.ExitPartly, fmt.Errorf("launched, but not %s after %s: %s; see `lease why`", state, brief(o.Patience), list(missing)))
	}
	if c.Err() != nil && errors.Is(err, context.Canceled) {
		err = cli.WithCode(cli.ExitUnknown, fmt.Errorf("stopped while waiting: all instances are launched and leased, but not yet %s: %s; run the same command with --id %s to wait again",
			state, list(missing), r.Launch.Token))
	}
	for n, l := range r.Leases { // a sidecar may have renewed them by now
		if fresh, err := store.Lease(c.Context, l.InstanceID); err == nil {
			r.Leases[n] = fresh
		}
	}
	return coded(err)
}

// running waits until EC2 says that the instances run, and removes from ids those that do.
func running(ctx context.Context, cloud *ec2.Cloud, ids map[string]bool, said *meter) error {
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
				return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s was launched, but is %s and never ran; see `lease why %s`", i.ID, i.State, i.ID))
			}
		}
		if len(ids) == 0 {
			return nil
		}
		said.waits(ids)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claimed waits until a sidecar renews the lease of each instance, and removes from ids those that have one.
func claimed(ctx context.Context, store *etcd.Store, ids map[string]bool, said *meter) error {
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := store.Watch(ctx, snapshot)
	change := lease.Change{Snapshot: &snapshot}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := follow(change, ids); err != nil || len(ids) == 0 {
			return err
		}
		said.waits(ids)
		open := true
		select {
		case change, open = <-changes:
		case <-ticker.C:
			change = lease.Change{}
		}
		if !open {
			return ctx.Err()
		}
	}
}

// meter reports on stderr what the command waits for: at once, whenever fewer are missing, and from time to time.
type meter struct {
	c       *ucli.Context
	state   string
	most    time.Duration
	began   time.Time
	last    time.Time
	missing int
	every   time.Duration
}

// Pauses between two equal lines: a person watches a terminal; a log is read later.
const (
	sayEvery = 10 * time.Second
	logEvery = time.Minute
)

func newMeter(c *ucli.Context, state string, most time.Duration) *meter {
	m := &meter{c: c, state: state, most: most, began: time.Now(), every: logEvery}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		m.every = sayEvery
	}
	return m
}

func (m *meter) waits(ids map[string]bool) {
	if now := time.Now(); len(ids) != m.missing || now.Sub(m.last) >= m.every {
		m.missing, m.last = len(ids), now
		cli.Say(m.c, "waiting for %s to be %s: %s; %s of at most %s", count(len(ids), "instance"), m.state, some(sorted(ids)),
			now.Sub(m.began).Round(time.Second), brief(m.most))
	}
}

// follow removes from ids those whose lease a sidecar renews, and refuses if the lease of one of them was revoked.
func follow(change lease.Change, ids map[string]bool) error {
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
			return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s was launched, but its lease was %s before a sidecar renewed it; see `lease why %s`",
				l.InstanceID, l.State, l.InstanceID))
		}
	}
	return nil
}

func list(ids map[string]bool) string { return strings.Join(sorted(ids), ", ") }
