package main

import (
	"cmp"
	"context"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease/ec2"
)

// rehearseFor bounds what is rehearsed in one place.
const rehearseFor = 20 * time.Second

// rehearser is a place in which a janitor's calls can be tried with DryRun.
type rehearser interface {
	Stage(ctx context.Context, registry string) (ec2.Rehearsal, error)
	Rehearse(ctx context.Context, r ec2.Rehearsal, roles ...ec2.Role) []ec2.Rehearsed
	Caller() string
}

// rehearse says what EC2 would refuse to a janitor with the credentials of this command. The janitor's own may be others,
// so it is no reason not to arm: what is refused is spared.
func rehearse(c *ucli.Context, clouds []janitor.Cloud, registry string) {
	for _, cloud := range clouds {
		place, can := cloud.(rehearser)
		if !can {
			continue
		}
		ctx, cancel := context.WithTimeout(c.Context, rehearseFor)
		stage, err := place.Stage(ctx, registry)
		if err != nil {
			cli.Say(c, "warning: nothing can be rehearsed in %s: %v", cloud.Place(), err)
			cancel()
			continue
		}
		refused, _ := ec2.RoleJanitor.Lacks(place.Rehearse(ctx, stage, ec2.RoleJanitor))
		cancel()
		for _, one := range refused {
			cli.Say(c, "warning: in %s EC2 refuses %s to %s: give the janitor's role the policy deploy/iam/janitor.json",
				cloud.Place(), one.Need, cmp.Or(place.Caller(), "these credentials"))
		}
	}
}
