package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease/etcd"
)

// Bounds of a single pass, and of its office.
const (
	officeTTL   = 15 * time.Second
	electionMax = 30 * time.Second
)

func sweepCommand() *ucli.Command {
	flags := append(append(append(cli.StoreFlags(), cli.LogFlags()...), placeFlags()...), policyFlags()...)
	return &ucli.Command{
		Name: "sweep", Usage: "sweep once, for cron or Lambda",
		Description: "One pass ends what was declared (a term that passed, a release, a revocation) and what failed launches\n" +
			"left. Silence needs `janitor run`: it takes a leader that watches.\n\n" +
			"   janitor sweep --dry-run\n" +
			"   janitor sweep --interval 15m        # when cron runs it every 15 minutes\n\n" +
			"Exit codes: 0 done, 5 a brake holds something, 6 partly done.",
		Flags: append(flags, cli.OutputFlag(),
			&ucli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing"},
			&ucli.StringFlag{Name: "interval", Value: "15m", Usage: "how often this is run: `LONG`", EnvVars: []string{"LAPSE_INTERVAL"}},
		),
		Action: sweep,
	}
}

func sweep(c *ucli.Context) error {
	log, err := cli.Logger(c)
	if err != nil {
		return err
	}
	p, err := readPolicy(c)
	if err != nil {
		return err
	}
	if p.Interval, err = cli.Duration("interval", c.String("interval")); err != nil {
		return err
	}
	clouds, err := places(c)
	if err != nil {
		return err
	}
	store, closeStore, err := cli.Store(c, log)
	if err != nil {
		return err
	}
	defer closeStore()
	if c.Bool("dry-run") {
		view, plan, err := janitor.Preview(c.Context, clouds, store, p, time.Now)
		if err != nil {
			return err
		}
		return printPlan(c, view, plan)
	}
	j, err := janitor.New(janitor.Config{
		Campaign: campaign(store, electionMax), Healthy: store.Healthy, Clouds: clouds, Policy: p,
		Schedule: "@every " + p.Interval.String(), Now: time.Now, Log: log,
	})
	if err != nil {
		return err
	}
	cli.Say(c, "one pass judges no silence; `janitor run` does")
	_, report, err := j.Sweep(c.Context)
	if err != nil {
		return err
	}
	return printReport(c, report)
}

// campaign returns a campaign bounded by most, or by its context alone if most is 0.
func campaign(store *etcd.Store, most time.Duration) func(context.Context) (janitor.Office, error) {
	return func(ctx context.Context) (janitor.Office, error) {
		bounded, cancel := ctx, context.CancelFunc(func() {})
		if most > 0 {
			bounded, cancel = context.WithTimeout(ctx, most)
		}
		defer cancel()
		office, err := store.Campaign(bounded, leaderName(), officeTTL)
		switch {
		case err == nil:
			return office, nil
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			return nil, cli.WithCode(cli.ExitHeld, fmt.Errorf("another janitor has led for %s; it does what this pass would do", most))
		}
		return nil, err
	}
}

func printReport(c *ucli.Context, r janitor.Report) error {
	if cli.WantsJSON(c) {
		if err := cli.JSON(c, r); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(c.App.Writer, "marked %d, asked EC2 to end %d, confirmed ended %d, spared %d, held %d, failed %d\n",
		r.Marked, r.Asked, r.Ended, r.Spared, r.Held, r.Failed); err != nil {
		return err
	}
	switch {
	case r.Failed > 0:
		return &cli.SilentError{Code: cli.ExitPartly}
	case r.Held > 0:
		return &cli.SilentError{Code: cli.ExitHeld}
	}
	return nil
}
