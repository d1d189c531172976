package main

import (
	"context"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/cmd/internal/registry"
	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd"
)

// dryRun shows what one sweep with these flags and credentials would do. It names other locations that the janitor
// sweeps.
func dryRun(c *ucli.Context, p plan.Policy) error {
	store, closeStore, err := registry.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	swept, err := sweptNow(c.Context, store)
	if err != nil {
		return err
	}
	clouds, err := seenHere(c, swept)
	if err != nil {
		return err
	}
	seen, err := janitor.Preview(c.Context, clouds, store, p, time.Now)
	if err != nil {
		return err
	}
	made := newPlan(seen.Plan, seen.Snapshot.Registry, c.Bool("all"))
	made.Unseen = unseenHere(clouds, swept, seen.Locations)
	if err := cli.Show(c, made, func() error { return made.print(c, c.App.Writer) }); err != nil {
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
	if err != nil && !cli.Is[*lease.NotFoundError](err) {
		return nil, err
	}
	if !last.Fresh(time.Now()) {
		return nil, nil
	}
	return last.Locations, nil
}

// seenHere opens the requested regions. Without any, it opens the swept locations in the account of these credentials,
// or else the region of the AWS SDK's own setting.
func seenHere(c *ucli.Context, swept []lease.Location) ([]janitor.Cloud, error) {
	if len(c.StringSlice("region")) > 0 || len(swept) == 0 {
		return locations(c, nil, cloud.Regions(c), nil)
	}
	first, err := locations(c, nil, []string{swept[0].Region}, nil)
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
		ours = cloud.Regions(c)
	}
	return locations(c, nil, ours, nil)
}

// unseenHere are the locations that the janitor sweeps and this command does not, and those of its own that it could
// not list.
func unseenHere(clouds []janitor.Cloud, swept []lease.Location, looked []plan.LocationView) []lease.LocationStatus {
	unseen := []lease.LocationStatus{}
	for _, location := range swept {
		if !slices.ContainsFunc(clouds, func(seen janitor.Cloud) bool { return seen.Location() == location }) {
			unseen = append(unseen, lease.LocationStatus{Location: location, Error: cloud.Elsewhere(clouds[0].Location(), location)})
		}
	}
	for _, location := range looked {
		if !location.Listed() {
			unseen = append(unseen, lease.LocationStatus{Location: location.Location, Error: location.Err})
		}
	}
	return unseen
}
