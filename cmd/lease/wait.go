package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
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
	look := map[string]func(context.Context, map[string]bool) error{
		"running":   func(ctx context.Context, ids map[string]bool) error { return running(ctx, cloud, ids) },
		"heartbeat": func(ctx context.Context, ids map[string]bool) error { return claimed(ctx, store, ids) },
	}[o.wait]
	if look == nil {
		return nil
	}
	missing, said := map[string]bool{}, &meter{c: c, state: state, most: o.Patience, began: time.Now()}
	for _, l := range r.Leases {
		if l.Live() {
			missing[l.InstanceID] = true
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, o.Patience)
	defer cancel()
	all, err := cli.Poll(ctx, lookEvery, o.Patience, func() (bool, error) {
		err := look(ctx, missing)
		if err == nil && len(missing) > 0 {
			said.waits(missing)
		}
		return len(missing) == 0, err
	})
	if err == nil && !all || errors.Is(err, context.DeadlineExceeded) {
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
	return advice.EC2(err)
}

// running removes from ids the instances that EC2 says run, and refuses if one will not.
func running(ctx context.Context, cloud *ec2.Cloud, ids map[string]bool) error {
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
	return nil
}

// claimed removes from ids those whose leases say that a sidecar has renewed them, and refuses if one was taken away. While
// the registry does not answer, it waits on.
func claimed(ctx context.Context, store *etcd.Store, ids map[string]bool) error {
	for _, id := range sorted(ids) {
		l, err := store.Lease(ctx, id)
		switch {
		case noAnswer(err) && ctx.Err() == nil:
			return nil
		case err != nil:
			return err
		case !l.ClaimedAt.IsZero():
			delete(ids, id)
		case !l.Live():
			return cli.WithCode(cli.ExitPartly, fmt.Errorf("%s was launched, but its lease was %s before a sidecar renewed it; see `lease why %s`", id, l.State, id))
		}
	}
	return nil
}

// meter reports on stderr what the command waits for: at once, whenever fewer are missing, and from time to time.
type meter struct {
	c       *ucli.Context
	state   string
	most    time.Duration
	began   time.Time
	last    time.Time
	missing int
}

// sayEvery is the pause between two equal lines.
const sayEvery = 20 * time.Second

func (m *meter) waits(ids map[string]bool) {
	if now := time.Now(); len(ids) != m.missing || now.Sub(m.last) >= sayEvery {
		m.missing, m.last = len(ids), now
		cli.Say(m.c, "waiting for %s to be %s: %s; %s of at most %s", count(len(ids), "instance"), m.state, some(sorted(ids)),
			now.Sub(m.began).Round(time.Second), brief(m.most))
	}
}

func list(ids map[string]bool) string { return strings.Join(sorted(ids), ", ") }

// progress tells people on stderr how a launch proceeds: its token as soon as it is on record, the holder if nobody
// named one, and then each step.
func progress(c *ucli.Context, holder string) func(launch.Event) {
	return func(e launch.Event) {
		switch e.Kind {
		case launch.EventStored, launch.EventResumed:
			cli.Say(c, "launch %s: %s", e.Token, e.Text)
			if holder != "" {
				cli.Say(c, "holder %s, by default; set another one with --holder", holder)
			}
		case launch.EventWarning:
			cli.Say(c, "warning: %s%s", e.Text, advice.Warning(e.Warning))
		case launch.EventDoubt:
			cli.Say(c, "outcome not known yet: %s", e.Text)
		case launch.EventRefused, launch.EventThrottled:
			cli.Say(c, "%s: %s", e.Kind, e.Text)
		case launch.EventSending, launch.EventSearching, launch.EventLaunched, launch.EventBound:
			cli.Say(c, "%s", e.Text)
		}
	}
}
