package main

import (
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor"
	"lapse/lease"
)

// stray is an instance of which no record speaks, as printed for programs.
type stray struct {
	InstanceID string              `json:"instance_id"`
	Account    string              `json:"account"`
	Region     string              `json:"region"`
	Zone       string              `json:"zone"`
	State      lease.InstanceState `json:"state"`
	StartedAt  time.Time           `json:"started_at"`
	Launch     string              `json:"launch,omitzero"` // client token in its launch tag
	Reason     string              `json:"reason"`
}

// listUnexplained lists instances that bear this registry's tag and of which no record speaks. Nothing ends them.
func listUnexplained(c *ucli.Context) error {
	for _, name := range []string{"holder", "label", "state", "expiring", "stuck"} {
		if c.IsSet(name) {
			return cli.Usage("--%s chooses among leases, and --unexplained lists instances that have none; leave one out", name)
		}
	}
	store, closeStore, err := cli.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	cloud, err := openCloud(c.Context, c.String("region"))
	if err != nil {
		return err
	}
	view, plan, err := janitor.Preview(c.Context, []janitor.Cloud{cloud}, store, janitor.DefaultPolicy(), time.Now)
	if err != nil {
		return err
	}
	if why := view.Places[0].Err; why != "" {
		return cli.WithCode(cli.ExitMissing, fmt.Errorf("cannot list the instances of %s: %s", cloud.Place(), why))
	}
	sayBad(c, view.Snapshot.Bad)
	return printStrays(c, strays(view, plan))
}

func strays(view janitor.View, plan janitor.Plan) []stray {
	recorded := map[string]bool{}
	for _, bad := range view.Snapshot.Bad {
		recorded[bad.ID] = true
	}
	found := []stray{}
	for _, v := range plan.With(janitor.ActReport) {
		i := v.Instance
		if v.Lease != nil || i == nil || recorded[i.ID] || !i.ManagedBy(view.Snapshot.Registry.UUID) {
			continue
		}
		found = append(found, stray{
			InstanceID: i.ID, Account: i.Place.Account, Region: i.Place.Region, Zone: i.Zone, State: i.State,
			StartedAt: i.LaunchTime.UTC(), Launch: i.Tags[lease.TagLaunch], Reason: v.Reason,
		})
	}
	return found
}

func printStrays(c *ucli.Context, found []stray) error {
	if cli.WantsJSON(c) {
		return cli.JSON(c, found)
	}
	if len(found) == 0 {
		cli.Say(c, "nothing unexplained")
		return nil
	}
	rows := [][]string{{"INSTANCE", "STATE", "ZONE", "STARTED", "WHY"}}
	for _, s := range found {
		if c.Bool("quiet") {
			fmt.Fprintln(c.App.Writer, s.InstanceID)
		}
		rows = append(rows, []string{s.InstanceID, string(s.State), s.Zone, cli.Away(time.Until(s.StartedAt)), s.Reason})
	}
	if c.Bool("quiet") {
		return nil
	}
	cli.Say(c, "nothing of ours ends these; `lease adopt` gives them leases, the EC2 console ends them")
	return cli.Table(c.App.Writer, rows)
}
