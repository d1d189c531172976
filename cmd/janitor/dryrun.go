package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd"
)

// dryRun shows what one sweep with these flags and credentials would do. It names other locations that the janitor
// sweeps.
func dryRun(c *ucli.Context, store *etcd.Store, log *slog.Logger, p plan.Policy) error {
	swept, err := sweptNow(c.Context, store)
	if err != nil {
		return err
	}
	clouds, err := seenHere(c, log, swept)
	if err != nil {
		return err
	}
	seen, err := janitor.Preview(c.Context, clouds, store, p, time.Now)
	if err != nil {
		return err
	}
	made := newPlan(seen.Plan, seen.Snapshot.Registry, c.Bool("all"))
	made.Unseen = unseenHere(clouds, swept, seen.Locations)
	show := func() error { return made.print(c, c.App.Writer) }
	if cli.WantsJSON(c) {
		show = func() error { return cli.JSON(c, made) }
	}
	if err := show(); err != nil {
		return err
	}
	if err := unseen(c, seen.Plan); err != nil {
		return err
	}
	if len(made.Unseen) > 0 && len(c.StringSlice("region")) == 0 { // otherwise only some regions were requested
		return &cli.QuietError{Code: cli.ExitPartly}
	}
	return nil
}

// sweptNow are the locations of the checkpoint; none unless it is fresh.
func sweptNow(ctx context.Context, store *etcd.Store) ([]lease.Location, error) {
	last, err := store.Checkpoint(ctx)
	if _, none := errors.AsType[*lease.NotFoundError](err); err != nil && !none {
		return nil, err
	}
	if !last.Fresh(time.Now()) {
		return nil, nil
	}
	return last.Locations, nil
}

// seenHere opens the requested regions. Without any, it opens the swept locations in the account of these credentials,
// or else the region of the AWS SDK's own setting.
func seenHere(c *ucli.Context, log *slog.Logger, swept []lease.Location) ([]janitor.Cloud, error) {
	if len(c.StringSlice("region")) > 0 || len(swept) == 0 {
		return locations(c, log, regions(c), nil)
	}
	first, err := locations(c, log, []string{swept[0].Region}, nil)
	if err != nil {
		return nil, err
	}
	account := first[0].Location().Account
	var ours []string
	for _, location := range swept {
		if location.Account == account {
			ours = append(ours, location.Region)
		}
	}
	if len(ours) == 0 {
		return locations(c, log, regions(c), nil)
	}
	return locations(c, log, ours, nil)
}

// unseenHere are the locations that the janitor sweeps and this command does not, and those of its own that it could
// not list.
func unseenHere(clouds []janitor.Cloud, swept []lease.Location, looked []plan.LocationView) []lease.LocationStatus {
	unseen := []lease.LocationStatus{}
	for _, location := range swept {
		if !slices.ContainsFunc(clouds, func(cloud janitor.Cloud) bool { return cloud.Location() == location }) {
			unseen = append(unseen, lease.LocationStatus{Location: location, Error: unseenBecause(clouds, location)})
		}
	}
	for _, location := range looked {
		if !location.Listed() {
			unseen = append(unseen, lease.LocationStatus{Location: location.Location, Error: location.Err})
		}
	}
	return unseen
}

func unseenBecause(clouds []janitor.Cloud, location lease.Location) string {
	if account := clouds[0].Location().Account; account != location.Account {
		return "these credentials are for account " + account
	}
	return fmt.Sprintf("add --region %s", location.Region)
}
