package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/lease"
	"lapse/lease/ec2"
)

// rehearseFor bounds what is rehearsed in one location.
const rehearseFor = 20 * time.Second

// rehearse warns of what EC2 would refuse a janitor with the credentials of this command, in the locations of the plan.
// The janitor's own credentials may differ, so a refusal does not prevent arming: an instance that EC2 refuses to
// terminate is kept.
func rehearse(c *ucli.Context, published lease.Plan, registry string) {
	for _, seen := range published.Locations {
		if err := rehearseIn(c, seen.Location, registry); err != nil {
			cli.Say(c, "note: could not check what EC2 would refuse in %s: %v; run `lease doctor --as janitor` where the janitor runs", seen.Location, advice.EC2(err))
		}
	}
}

func rehearseIn(c *ucli.Context, location lease.Location, registry string) error {
	ctx, cancel := context.WithTimeout(c.Context, rehearseFor)
	defer cancel()
	opened, err := cloud.Open(ctx, c, ec2.Settings{Region: location.Region}, ec2.Options{Share: 1, Speed: 1})
	if err != nil {
		return err
	}
	if opened.Location() != location {
		return fmt.Errorf("these credentials are for account %s", opened.Location().Account)
	}
	stage, err := opened.Stage(ctx, registry)
	if err != nil {
		return err
	}
	refused, _ := ec2.RoleJanitor.Lacks(opened.Rehearse(ctx, stage, ec2.RoleJanitor))
	for _, one := range refused {
		cli.Say(c, "warning: in %s EC2 refuses %s to %s: give the janitor's role the policy deploy/iam/janitor.json",
			location, one.Need, cmp.Or(opened.Caller(), "these credentials"))
	}
	return nil
}
