package main

import (
	"fmt"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/etcd"
)

// stray is an instance that bears a registry's tag and has no lease here, as printed for programs.
type stray struct {
	InstanceID string              `json:"instance_id"`
	Account    string              `json:"account"`
	Region     string              `json:"region"`
	Zone       string              `json:"zone"`
	State      lease.InstanceState `json:"state"`
	StartedAt  time.Time           `json:"started_at"`
	Launch     string              `json:"launch,omitzero"` // client token in its launch tag
	Registry   string              `json:"registry"`        // whose tag it has
	Reason     string              `json:"reason"`
}

// listStrays lists instances that have this registry's tag and no record, or those that have another registry's tag.
// Lapse terminates neither.
func listStrays(c *ucli.Context, store *etcd.Store) error {
	if c.Bool("untracked") && c.Bool("foreign") {
		return cli.Usage("--untracked lists instances of this registry, and --foreign those of others; leave one out")
	}
	kind := "--untracked"
	if c.Bool("foreign") {
		kind = "--foreign"
	}
	for _, name := range []string{"holder", "label", "state", "expiring", "stuck", "overdue"} {
		if c.IsSet(name) {
			return cli.Usage("--%s selects leases, and %s lists instances that have none; leave one out", name, kind)
		}
	}
	var clouds []janitor.Cloud
	for _, region := range cloud.Regions(c) {
		opened, err := openCloud(c.Context, c, region)
		if err != nil {
			return err
		}
		clouds = append(clouds, opened)
	}
	seen, err := janitor.Preview(c.Context, clouds, store, plan.DefaultPolicy(), time.Now)
	if err != nil {
		return err
	}
	for n, location := range seen.Locations {
		if location.Err != "" {
			return cli.WithCode(cli.ExitMissing, fmt.Errorf("cannot list the instances of %s: %s", clouds[n].Location(), location.Err))
		}
	}
	sayBad(c, seen.Snapshot.Bad)
	for _, swept := range seen.Snapshot.Checkpoint.Locations {
		if !slices.ContainsFunc(clouds, func(seen janitor.Cloud) bool { return seen.Location() == swept }) {
			cli.Say(c, "not listed: %s, which the janitor sweeps: %s", swept, cloud.Elsewhere(clouds[0].Location(), swept))
		}
	}
	return printStrays(c, strays(seen, c.Bool("foreign")))
}

func strays(seen janitor.Previewed, foreign bool) []stray {
	recorded := map[string]bool{}
	for _, bad := range seen.Snapshot.Bad {
		recorded[bad.ID] = true
	}
	found := []stray{}
	for _, v := range seen.Plan.With(plan.ActReport) {
		i := v.Instance
		if v.Lease != nil || i == nil || !i.Alive() || recorded[i.ID] || i.ManagedBy(seen.Snapshot.Registry.UUID) == foreign {
			continue
		}
		found = append(found, stray{
			InstanceID: i.ID, Account: i.Location.Account, Region: i.Location.Region, Zone: i.Zone, State: i.State,
			StartedAt: i.LaunchTime.UTC(), Launch: i.Tags[lease.TagLaunch],
			Registry: i.Tags[lease.TagRegistry], Reason: v.Reason,
		})
	}
	return found
}

func printStrays(c *ucli.Context, found []stray) error {
	if cli.WantsJSON(c) {
		return cli.JSON(c, found)
	}
	foreign := c.Bool("foreign")
	head, none := "WHY", "nothing untracked"
	advice := "Lapse does not terminate these; `lease recover` rebuilds lost leases, `lease adopt` gives new ones, the EC2 console terminates them"
	if foreign {
		head, none = "REGISTRY", "nothing foreign"
		advice = "these bear another registry's tag: their leases are there, and this registry does not touch them"
	}
	if len(found) == 0 {
		cli.Say(c, "%s", none)
		return nil
	}
	sheet := cli.Sheet{Columns: []cli.Column{
		{Head: "INSTANCE"}, {Head: "STATE"}, {Head: "ZONE", Rank: 2}, {Head: "STARTED", Rank: 1}, {Head: head, Fold: true},
	}}
	for _, s := range found {
		if c.Bool("quiet") {
			fmt.Fprintln(c.App.Writer, s.InstanceID)
		}
		last := s.Reason
		if foreign {
			last = s.Registry
		}
		sheet.Rows = append(sheet.Rows, []string{s.InstanceID, string(s.State), s.Zone, cli.Away(time.Until(s.StartedAt)), last})
	}
	if c.Bool("quiet") {
		return nil
	}
	cli.Say(c, "%s", advice)
	return sheet.Print(c, c.App.Writer)
}
