package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd"
)

// Bounds of the wait for a plan that follows a change of the registry. Leaders sweep at once when it changes.
const (
	planMax   = 10 * time.Second
	planEvery = 200 * time.Millisecond
)

func armCommand() *ucli.Command {
	command := modeCommand("arm", "let janitors terminate instances; prints the plan, and asks", toMode(lease.ModeArmed), previewArm)
	command.Flags = append(command.Flags, cli.AccountFlag(), cli.YesFlag(), allFlag())
	command.Description += "\nThe plan is that of the janitor that sweeps, which publishes it while the registry observes or is paused. Arming\n" +
		"is refused without a fresh plan, or if the janitor cannot list a location. --yes does not arm a paused registry: run\n" +
		"`janitor resume`, or answer on a terminal. Exit code 4: refused."
	return command
}

// previewArm shows the plan that the leader has published, and asks. It returns the registry that the plan is for; zero
// if it is already armed.
func previewArm(c *ucli.Context, store *etcd.Store) (lease.Registry, error) {
	registry, published, err := latestPlan(c.Context, store, planMax)
	if err != nil || registry.Mode == lease.ModeArmed {
		return lease.Registry{}, err
	}
	out := c.App.Writer
	if cli.WantsJSON(c) {
		out = c.App.ErrWriter // the person who is asked reads the plan on stderr; stdout is for programs
	}
	view := viewOf(published, registry, c.Bool("all"))
	view.whose = whosePlan(published)
	if err := view.print(c, out); err != nil {
		return registry, err
	}
	if unseen := published.Unseen(); len(unseen) > 0 {
		return registry, cli.WithCode(cli.ExitRefused, fmt.Errorf(
			"the janitor cannot list %s, so nobody knows what would be terminated there: give its role access, or start it without that --region, then arm again",
			unseen[0].Location))
	}
	rehearse(c, published, registry.UUID)
	again := func() error {
		now, err := store.Registry(c.Context)
		if err == nil {
			err = outdated(registry, now)
		}
		if err != nil {
			return err
		}
		_, fresh, err := latestPlan(c.Context, store, planMax)
		if err != nil {
			return err
		}
		if more := fresher(published, fresh); len(more) > 0 {
			return cli.Outdated("%d more actions were added to the plan, such as: %s %s", len(more), more[0].Action, cmp.Or(more[0].InstanceID, more[0].Leftover, more[0].Launch))
		}
		return nil
	}
	return registry, confirmArm(c, registry, again)
}

// confirmArm asks whether to arm. If somebody has paused the registry, --yes is not enough: whoever wrote it may not
// know of the pause.
func confirmArm(c *ucli.Context, registry lease.Registry, again func() error) error {
	question := "arm registry " + registry.UUID
	if registry.Mode != lease.ModePaused {
		return cli.Confirm(c, question, again)
	}
	paused := strings.TrimSpace("was paused " + cli.When(registry.ModeSince, time.Now()) + " " + cli.WhoSet(registry))
	if c.Bool("yes") {
		return cli.WithCode(cli.ExitRefused, fmt.Errorf("registry %s %s, and --yes does not end a pause: `janitor resume` goes back to mode %s",
			registry.UUID, paused, cmp.Or(registry.Before, lease.ModeObserve)))
	}
	return cli.Ask(c, question+", which "+paused, "`janitor resume` ends the pause", again)
}

// whosePlan says who made a plan, when, and where.
func whosePlan(p lease.Plan) string {
	locations := make([]string, len(p.Locations))
	for n, seen := range p.Locations {
		locations[n] = seen.Location.String()
	}
	return fmt.Sprintf("plan of janitor %s, made %s, in %s", p.Leader, cli.When(p.Time, time.Now()), strings.Join(locations, " "))
}

// latestPlan waits for a plan of the registry in its present mode, made from the listing of the last sweep. An armed
// registry has none.
func latestPlan(ctx context.Context, store *etcd.Store, patience time.Duration) (registry lease.Registry, published lease.Plan, err error) {
	checkpoint := lease.Checkpoint{}
	found, err := cli.Poll(ctx, planEvery, patience, func() (bool, error) {
		if registry, err = store.Registry(ctx); err != nil || registry.Mode == lease.ModeArmed {
			return true, err
		}
		checkpoint, err = store.Checkpoint(ctx)
		switch {
		case cli.Is[*lease.NotFoundError](err):
			return false, cli.WithCode(cli.ExitRefused, errors.New("no janitor has swept yet, so nobody knows what would be terminated: start `janitor run`, then arm"))
		case err != nil:
			return false, err
		case !checkpoint.Fresh(time.Now()):
			return false, cli.WithCode(cli.ExitRefused, fmt.Errorf(
				"the last sweep was %s, so nobody knows what would be terminated now: see `janitor status`, get a janitor to sweep, then arm", cli.When(checkpoint.Time, time.Now())))
		}
		if published, err = store.Plan(ctx); err != nil && !cli.Is[*lease.NotFoundError](err) {
			return false, err
		}
		return published.Of(registry, checkpoint), nil
	})
	if err == nil && !found {
		err = cli.WithCode(cli.ExitRefused, fmt.Errorf(
			"no janitor has published what it would do since the registry changed; arm after the next sweep, which is due %s",
			cli.When(checkpoint.Due(), time.Now())))
	}
	return registry, published, err
}

// outdated refuses if the registry has changed since it was shown.
func outdated(shown, now lease.Registry) error {
	switch {
	case now.UUID != shown.UUID, now.Mode != shown.Mode, !now.ModeSince.Equal(shown.ModeSince):
		return cli.Outdated("registry %s was set to %s", now.UUID, now.Mode)
	case now.Revision != shown.Revision:
		return cli.Outdated("a brake of registry %s was released", now.UUID)
	}
	return nil
}

// fresher are the verdicts of a plan that terminate, mark or remove something that the plan before it did not.
func fresher(before, now lease.Plan) []lease.Judgement {
	acts := []string{string(plan.ActTerminate), string(plan.ActOrphan), string(plan.ActMark), string(plan.ActRemove)}
	more := slices.DeleteFunc(slices.Clone(now.Verdicts), func(j lease.Judgement) bool {
		return !slices.Contains(acts, j.Action) || slices.ContainsFunc(before.Verdicts, func(b lease.Judgement) bool {
			return b.Action == j.Action && b.InstanceID == j.InstanceID && b.Leftover == j.Leftover
		})
	})
	for _, action := range acts { // verdicts that are not listed are counted
		if len(more) == 0 && now.Counts[action] > before.Counts[action] {
			more = make([]lease.Judgement, now.Counts[action]-before.Counts[action])
			more[0].Action = action
		}
	}
	return more
}
