package main

import (
	"errors"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/sidecar"
)

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "say what the sidecar knows of this instance's lease",
		Flags: []ucli.Flag{socketFlag(), cli.OutputFlag()},
		Action: func(c *ucli.Context) error {
			s, err := sidecar.NewClient(c.String("socket")).Status(c.Context)
			if err != nil {
				return coded(err)
			}
			if cli.WantsJSON(c) {
				return cli.JSON(c, s)
			}
			return printStatus(c, s)
		},
	}
}

func printStatus(c *ucli.Context, s sidecar.Status) error {
	now := time.Now()
	rows := [][]string{{"instance", s.InstanceID}, {"sidecar", string(s.Phase)}}
	if l := s.Lease; l != nil {
		rows = append(rows, []string{"lease", string(l.State)}, []string{"holder", l.Holder},
			[]string{"expires", cli.When(l.ExpiresAt, now)}, []string{"not after", cli.When(l.NotAfter, now)})
		if l.Mark != nil {
			rows = append(rows, []string{"marked", fmt.Sprintf("%s, ends %s unless extended", l.Mark.Cause, cli.When(l.Mark.Deadline, now))})
		}
	} else {
		rows = append(rows, []string{"lease", "none bound yet"})
	}
	return cli.Table(c.App.Writer, rows)
}

func extendCommand() *ucli.Command {
	return &ucli.Command{
		Name: "extend", Usage: "move the date on which this instance's lease ends",
		Description: "Give one of --for (from now), --by (added) and --until (a date). It never shortens, and grants no more than\n" +
			"the lease's latest date.\n\n" +
			"   sidecar extend --for 4h\n" +
			"   sidecar extend --until 2030-01-02T15:00:00Z --reason \"backfill still runs\"",
		Flags: []ucli.Flag{
			socketFlag(), cli.OutputFlag(),
			&ucli.StringFlag{Name: "for", Usage: "so `LONG` from now, as in 4h"},
			&ucli.StringFlag{Name: "by", Usage: "so `LONG` more than now granted"},
			&ucli.StringFlag{Name: "until", Usage: "until this `DATE`, RFC 3339 or local"},
			&ucli.BoolFlag{Name: "strict", Usage: "refuse rather than grant less"},
			&ucli.StringFlag{Name: "reason", Usage: "`WHY`, for the lease's history"},
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
	if err != nil {
		return coded(err)
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, extended.Lease)
	}
	now := time.Now()
	_, err = fmt.Fprintf(c.App.Writer, "%s %s → %s\n", extended.Lease.InstanceID, cli.When(extended.Before, now), cli.When(extended.Granted, now))
	if extended.Clamped {
		cli.Say(c, "granted less than asked for: that is the latest date of this lease")
	}
	return err
}

func extendRequest(c *ucli.Context) (sidecar.ExtendRequest, error) {
	request := sidecar.ExtendRequest{Strict: c.Bool("strict"), Reason: c.String("reason")}
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
	if text := c.String("until"); text != "" {
		date, err := cli.Date("until", text)
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

func releaseCommand() *ucli.Command {
	return &ucli.Command{
		Name: "release", Usage: "give the lease back, which ends this instance; for root",
		Flags: []ucli.Flag{
			socketFlag(), cli.OutputFlag(), cli.YesFlag(),
			&ucli.StringFlag{Name: "reason", Usage: "`WHY`, for the lease's history"},
		},
		Action: func(c *ucli.Context) error {
			if err := cli.Confirm(c, "release the lease, and so end this instance"); err != nil {
				return err
			}
			released, err := sidecar.NewClient(c.String("socket")).Release(c.Context, c.String("reason"))
			if err != nil {
				return coded(err)
			}
			if cli.WantsJSON(c) {
				return cli.JSON(c, released)
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s released; the janitor ends it at its next look\n", released.InstanceID)
			return err
		},
	}
}

// coded gives an error of the sidecar its exit code.
func coded(err error) error {
	if _, ok := errors.AsType[*sidecar.NotRunningError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.UnavailableError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.ForbiddenError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	if _, ok := errors.AsType[*sidecar.OutcomeUnknownError](err); ok {
		return cli.WithCode(cli.ExitUnknown, err)
	}
	return err
}
