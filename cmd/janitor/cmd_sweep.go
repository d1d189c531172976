package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/cmd/internal/registry"
	"lapse/janitor"
	"lapse/janitor/enforce"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd"
)

// Bounds of a single sweep, and of its leadership.
const (
	electionTTL = 15 * time.Second
	electionMax = 5 * time.Second
)

func sweepCommand() *ucli.Command {
	flags := append(append(append(cli.StoreFlags(), cli.LogFlags()...), locationFlags(sweptRegion)...), figureFlags()...)
	return &ucli.Command{
		Name: "sweep", Usage: "sweep once, for cron or Lambda",
		Description: "One pass terminates for declared causes (an expiry, a release, a revocation) and what failed launches left.\n" +
			"Lost heartbeats need `janitor run`, since a leader has to watch them.\n\n" +
			"   janitor sweep --dry-run\n" +
			"   janitor sweep --interval 15m        # when cron runs it every 15 minutes\n\n" +
			"If another janitor leads and has swept lately, there is nothing to do, and the command says so.\n\n" +
			"Exit codes: 0 done, or already done; 5 a brake holds something back, or another janitor leads and does not sweep; 6\n" +
			"partly done: something failed, or a region could not be listed.",
		Flags: append(flags, cli.OutputFlag(),
			&ucli.BoolFlag{Name: "dry-run", Usage: "print what would be done; do nothing"}, allFlag(),
			stateFlag("none"), auditFlag(),
			&ucli.StringFlag{Name: "interval", Value: "15m", Usage: "expect the next run within `DURATION`, nights included"},
		),
		Action: sweep,
	}
}

func sweep(c *ucli.Context) error {
	p, err := readPolicy(c)
	if err != nil {
		return err
	}
	interval, err := cli.Duration("interval", c.String("interval"))
	if err != nil {
		return err
	}
	if interval < time.Second {
		return &lease.LimitError{What: "interval " + interval.String(), Why: "must be at least 1s"}
	}
	if c.Bool("all") && !c.Bool("dry-run") {
		return cli.Usage("--all needs --dry-run; add it, or leave out --all")
	}
	if c.String("audit-log") == "-" && cli.WantsJSON(c) {
		return cli.Usage("--audit-log - and -o json both write to stdout; name a file for one of them")
	}
	if c.Bool("dry-run") {
		return dryRun(c, p)
	}
	log, err := cli.ServiceLogger(c)
	if err != nil {
		return err
	}
	store, closeStore, err := registry.Store(c, log)
	if err != nil {
		return err
	}
	defer closeStore()
	clouds, err := locations(c, log, cloud.Regions(c), nil)
	if err != nil {
		return err
	}
	audit, closeAudit, err := openAudit(c)
	if err != nil {
		return err
	}
	defer closeAudit()
	j, err := janitor.New(janitor.Config{
		Campaign: campaign(store, electionMax), Healthy: store.Healthy, Clouds: clouds, Policy: p,
		Schedule: "@every " + interval.String(), Now: time.Now, Log: log, Audit: audit, StateDir: c.String("state-dir"),
	})
	if err != nil {
		return err
	}
	cli.Say(c, "one pass does not judge heartbeats; `janitor run` does")
	planned, report, err := j.Sweep(c.Context)
	cli.Takes(c, 0) // only output is left to do
	if cli.Is[*ledError](err) {
		return sweepBeside(c, clouds, store)
	}
	if err != nil {
		return err
	}
	err = printReport(c, report)
	if blind := unseen(c, planned); blind != nil && (err == nil || registry.ExitCode(err) == cli.ExitHeld) {
		return blind
	}
	return err
}

// unseen names the locations that EC2 did not list. The plan says nothing of their instances, so the sweep was done in
// part.
func unseen(c *ucli.Context, planned plan.Plan) error {
	var err error
	for _, b := range planned.Brakes {
		if b.Name == plan.BrakeHealth && b.Scope != "" {
			cli.Say(c, "warning: could not list %s: %s", b.Scope, b.Reason)
			err = &cli.QuietError{Code: cli.ExitPartly}
		}
	}
	return err
}

// sweepBeside decides what is left to do while another janitor leads: nothing, if that one sweeps these locations.
func sweepBeside(c *ucli.Context, clouds []janitor.Cloud, store *etcd.Store) error {
	last, err := store.Checkpoint(c.Context)
	if err != nil && !cli.Is[*lease.NotFoundError](err) {
		return err
	}
	now := time.Now()
	if !last.Fresh(now) {
		return cli.WithCode(cli.ExitHeld, fmt.Errorf("another janitor leads, and the last sweep is too long ago (%s); see `janitor status`", cli.When(last.Time, now)))
	}
	for _, cloud := range clouds {
		if !last.Names(cloud.Location()) {
			return cli.WithCode(cli.ExitHeld, fmt.Errorf("another janitor leads and does not sweep %s; start that one with a --region for it", cloud.Location()))
		}
	}
	cli.Say(c, "another janitor leads; %s swept %s, so there is nothing to do", last.Leader, cli.Away(last.Time.Sub(now)))
	if cli.WantsJSON(c) {
		return cli.JSON(c, enforce.Report{})
	}
	return nil
}

type ledError struct{ waited time.Duration }

func (e *ledError) Error() string {
	return "not elected within " + e.waited.String() + ": another janitor leads"
}

// campaign returns a campaign that ends after most, or with its context alone if most is 0.
func campaign(store *etcd.Store, most time.Duration) func(context.Context) (janitor.Leadership, error) {
	return func(ctx context.Context) (janitor.Leadership, error) {
		bounded, cancel := ctx, context.CancelFunc(func() {})
		if most > 0 {
			bounded, cancel = context.WithTimeout(ctx, most)
		}
		defer cancel()
		leadership, err := store.Campaign(bounded, leaderName(), electionTTL)
		switch {
		case err == nil:
			return leadership, nil
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			return nil, &ledError{waited: most}
		}
		return nil, err
	}
}

func printReport(c *ucli.Context, r enforce.Report) error {
	if cli.WantsJSON(c) {
		if err := cli.JSON(c, r); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(c.App.Writer, "marked %d, asked EC2 to terminate %d, confirmed terminated %d, leftovers removed %d, spared %d, held back %d, failed %d\n",
		r.Marked, r.Asked, r.Ended, r.Removed, r.Spared, r.Held, r.Failed); err != nil {
		return err
	}
	switch {
	case r.Failed > 0:
		return &cli.QuietError{Code: cli.ExitPartly}
	case r.Held > 0:
		return &cli.QuietError{Code: cli.ExitHeld}
	}
	return nil
}
