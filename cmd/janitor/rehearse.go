package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
)

// rehearseFor bounds what is rehearsed in one location.
const rehearseFor = 20 * time.Second

// rehearse says what EC2 would refuse to a janitor with the credentials of this command, in the locations of the plan. The
// janitor's own may be others, so it is no reason not to arm: what is refused is spared.
func rehearse(c *ucli.Context, log *slog.Logger, published lease.Plan, registry string) {
	for _, seen := range published.Locations {
		if err := rehearseIn(c, log, seen.Location, registry); err != nil {
			cli.Say(c, "note: what EC2 would refuse in %s is not tried: %v; where the janitor runs, `lease doctor --as janitor` tries it", seen.Location, advice.EC2(err))
		}
	}
}

func rehearseIn(c *ucli.Context, log *slog.Logger, location lease.Location, registry string) error {
	ctx, cancel := context.WithTimeout(c.Context, rehearseFor)
	defer cancel()
	cfg, err := ec2.Settings{Region: location.Region, Log: log}.Load(ctx)
	if err != nil {
		return err
	}
	cloud, err := ec2.Open(ctx, cfg, location.Region, ec2.Options{Account: c.String("account"), Share: 1, Speed: 1})
	if err != nil {
		return err
	}
	if cloud.Location() != location {
		return fmt.Errorf("these credentials are of account %s", cloud.Location().Account)
	}
	stage, err := cloud.Stage(ctx, registry)
	if err != nil {
		return err
	}
	refused, _ := ec2.RoleJanitor.Lacks(cloud.Rehearse(ctx, stage, ec2.RoleJanitor))
	for _, one := range refused {
		cli.Say(c, "warning: in %s EC2 refuses %s to %s: give the janitor's role the policy deploy/iam/janitor.json",
			location, one.Need, cmp.Or(cloud.Caller(), "these credentials"))
	}
	return nil
}
