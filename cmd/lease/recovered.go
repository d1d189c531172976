package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/cloud"
	"lapse/lease"
	"lapse/lease/ec2"
)

// lookForLost lists, in each region, every instance with any registry's tag, or looks up the named instances. It fails
// if one listing fails: an instance that was not seen could not be told from one that does not exist.
func lookForLost(c *ucli.Context, ids []string) ([]lease.Instance, error) {
	found := []lease.Instance{}
	for _, region := range cloud.Regions(c) {
		opened, err := openCloud(c.Context, c, region)
		if err != nil {
			return nil, err
		}
		look := func() (lease.Listing, error) { return opened.List(c.Context) }
		if len(ids) > 0 {
			look = func() (lease.Listing, error) { return opened.Describe(c.Context, ids) }
		}
		listing, err := look()
		if err == nil && listing.Dated && listing.Skew.Abs() > lease.MaxSkew {
			err = &ec2.ClockError{Skew: listing.Skew} // the dates are counted from this clock
		}
		if err != nil {
			return nil, advice.EC2(err)
		}
		found = append(found, listing.Instances...)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(found, func(i lease.Instance) bool { return i.ID == id }) {
			return nil, cli.WithCode(cli.ExitMissing, fmt.Errorf("EC2 finds no instance %s there; check --region and AWS_PROFILE", id))
		}
	}
	return found, nil
}

// withLostRegistry adds to the error, if the registry itself is missing, which registries' tags the instances have.
func withLostRegistry(err error, found []lease.Instance) error {
	if !cli.Is[*lease.NotFoundError](err) {
		return err
	}
	bearers := map[string]int{}
	for _, i := range found {
		if id := i.Tags[lease.TagRegistry]; id != "" && i.Alive() {
			bearers[id]++
		}
	}
	var texts []string
	for _, id := range slices.Sorted(maps.Keys(bearers)) {
		texts = append(texts, fmt.Sprintf("%s on %s", id, count(bearers[id], "instance")))
	}
	if len(texts) == 0 {
		return err
	}
	return cli.WithCode(cli.ExitMissing, fmt.Errorf("the registry itself is lost; run `lease init --uuid UUID` with the UUID that the instances here bear: %s",
		strings.Join(texts, ", ")))
}

// print shows what is or will be done, and what is left alone.
func (p recovery) print(c *ucli.Context, w io.Writer, verb string) error {
	now := time.Now()
	sheet := cli.Sheet{Columns: []cli.Column{
		{Head: "ACTION"}, {Head: "INSTANCE"}, {Head: "LOCATION", Rank: 2}, {Head: "HOLDER", Rank: 1, Cut: true}, {Head: "EXPIRES"}, {Head: "WHY", Fold: true, Rank: 3, Below: true},
	}}
	for _, l := range p.Recovered {
		expires := "never"
		if !l.ExpiresAt.IsZero() {
			expires = cli.When(l.ExpiresAt, now)
		}
		sheet.Rows = append(sheet.Rows, []string{verb, l.InstanceID, l.Location().String(), dash(l.Holder), expires, l.History[len(l.History)-1].Reason})
	}
	for _, left := range p.Left {
		location := lease.Location{Account: left.Account, Region: left.Region}
		sheet.Rows = append(sheet.Rows, []string{"leave", left.InstanceID, location.String(), "-", "-", left.Reason})
	}
	if len(p.Recovered) == 0 {
		cli.Say(c, "no lease to rebuild")
	}
	if len(sheet.Rows) == 0 {
		return nil
	}
	return sheet.Print(c, w)
}

// end prints the result, and chooses the exit code. A named instance that could not be recovered counts as refused,
// unless it has a lease already.
func (p recovery) end(c *ucli.Context, failed int) error {
	verb := "recovered"
	if p.DryRun {
		verb = "would recover"
	}
	if err := cli.Show(c, p, func() error { return p.print(c, c.App.Writer, verb) }); err != nil {
		return err
	}
	refused := 0
	for _, left := range p.Left {
		if p.named && left.Obstacle != lease.ObstacleLeased {
			refused++
		}
	}
	switch {
	case failed > 0:
		return &cli.QuietError{Code: cli.ExitUnknown}
	case refused > 0 && len(p.Recovered) > 0:
		return &cli.QuietError{Code: cli.ExitPartly}
	case refused > 0:
		return &cli.QuietError{Code: cli.ExitRefused}
	}
	return nil
}
