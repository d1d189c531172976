package sidecarcmd

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/sidecar"
)

func peersCommand() *ucli.Command {
	return &ucli.Command{
		Name: "peers", Usage: "list the instances of this launch that live",
		Description: "Lists the instances of the same launch whose leases are valid and whose sidecars renew, this one among\n" +
			"them. An instance that stops renewing is gone as soon as its heartbeat timeout has passed; one that is\n" +
			"marked, released or revoked is gone at once. An address is what that instance says itself.\n\n" +
			"   sidecar peers\n" +
			"   sidecar peers -o json | jq -r '.[] | select(.self | not) | .address'",
		Flags:  []ucli.Flag{socketFlag(), cli.OutputFlag()},
		Action: peers,
	}
}

func peers(c *ucli.Context) error {
	all, err := sidecar.NewClient(c.String("socket")).Peers(c.Context)
	if err != nil {
		return err
	}
	return cli.Show(c, all, func() error {
		if len(all) == 0 {
			cli.Say(c, "no peers")
			return nil
		}
		return peerSheet(all, time.Now()).Print(c, c.App.Writer)
	})
}

// peerSheet is for people. The dates are by the clock of this machine.
func peerSheet(all []lease.Peer, now time.Time) cli.Sheet {
	sheet := cli.Sheet{Columns: []cli.Column{
		{Head: "INSTANCE"},
		{Head: "ADDRESS"},
		{Head: "ZONE", Rank: 2},
		{Head: "EXPIRES"},
		{Head: "LABELS", Rank: 1, Cut: true},
		{Head: "NOTE"},
	}}
	for _, p := range all {
		expires, note := "never", "-"
		if !p.ExpiresAt.IsZero() {
			expires = cli.Away(p.ExpiresAt.Sub(now))
		}
		if p.Self {
			note = "this instance"
		}
		labels := []string{}
		for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
			labels = append(labels, key+"="+p.Labels[key])
		}
		sheet.Rows = append(sheet.Rows, []string{
			p.InstanceID, cmp.Or(p.Address, "-"), cmp.Or(p.Zone, "-"), expires, cmp.Or(strings.Join(labels, " "), "-"), note,
		})
	}
	return sheet
}
