package sidecarcmd

import (
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/sidecar"
)

func extendCommand() *ucli.Command {
	return &ucli.Command{
		Name: "extend", Usage: "move the expiry of this instance's lease",
		Description: "Give one of --for (from now), --by (added to the current expiry) and --until (a date). It never shortens,\n" +
			"and grants no more than the lease's maximum.\n\n" +
			"   sidecar extend --for 4h\n" +
			"   sidecar extend --until 2030-01-02T15:00:00Z --reason \"backfill runs\"",
		Flags: []ucli.Flag{
			socketFlag(), cli.OutputFlag(),
			&ucli.StringFlag{Name: "for", Usage: "expire `DURATION` from now, as in 90m, 8h or 3d"},
			&ucli.StringFlag{Name: "by", Usage: "add `DURATION` to the current expiry"},
			&ucli.StringFlag{Name: "until", Usage: "expire at `DATE`, RFC 3339 or local time"},
			&ucli.BoolFlag{Name: "strict", Usage: "refuse rather than grant less than requested"},
			cli.ReasonFlag("the lease's history"),
		},
		Action: extend,
	}
}

func extend(c *ucli.Context) error {
	request, err := extendRequest(c)
	if err != nil {
		return err
	}
	extended, err := sidecar.NewClient(c.String("socket")).Extend(c.Context, request)
	if short, ok := errors.AsType[*lease.ShortenError](err); ok { // no flag of the sidecar shortens a lease
		advice := "; ask for a later date"
		if short.ExpiresAt.IsZero() {
			advice = ", so there is nothing to extend"
		}
		err = cli.WithAdvice(advice, err)
	}
	if err != nil {
		return err
	}
	partly := error(nil)
	if extended.Clamped {
		way := "an operator can extend it further with `lease extend`"
		if extended.Granted.Equal(extended.Lease.MaxExpiresAt) {
			way = "that is the maximum of the lease, which an operator can move with `lease extend --max-term`"
		}
		cli.Say(c, "granted less than requested: this instance can extend its lease until %s at most; %s", extended.Granted.UTC().Format(time.RFC3339), way)
		partly = &cli.QuietError{Code: cli.ExitPartly}
	}
	now := time.Now()
	cli.SayClock(c, lease.Reckoning{Now: now, Behind: time.Duration(extended.ClockBehind), Late: time.Duration(extended.SweepLate)})
	if cli.WantsJSON(c) {
		return errors.Join(cli.JSON(c, extended), partly)
	}
	now = now.Add(time.Duration(extended.ClockBehind))
	words := fmt.Sprintf("%s %s → %s", extended.Lease.InstanceID, cli.When(extended.Before, now), cli.When(extended.Granted, now))
	if extended.Granted.Equal(extended.Before) {
		words = fmt.Sprintf("%s already lasts until %s", extended.Lease.InstanceID, cli.When(extended.Granted, now))
	}
	return errors.Join(cli.Prose(c.App.Writer, words), partly)
}

func extendRequest(c *ucli.Context) (lease.ExtendRequest, error) {
	request := lease.ExtendRequest{Strict: c.Bool("strict"), Reason: c.String("reason")}
	given := 0
	for name, field := range map[string]*lease.Duration{"for": &request.For, "by": &request.By} {
		if text := c.String(name); text != "" {
			d, err := cli.Duration(name, text)
			if err != nil {
				return request, err
			}
			if d <= 0 {
				return request, cli.Usage("--%s %s must be above zero", name, text)
			}
			*field = lease.Duration(d)
			given++
		}
	}
	if c.String("until") != "" {
		date, err := cli.DateFlag(c, "until")
		if err != nil {
			return request, err
		}
		request.Until = date
		given++
	}
	if given != 1 {
		return request, cli.Usage("give exactly one of --for, --by and --until")
	}
	return request, nil
}
