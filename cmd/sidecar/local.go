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
		Description: "Exit code 1: the registry does not acknowledge the heartbeat, though it is tried; 3: no sidecar runs; 4: this user\n" +
			"may not connect to the socket.",
		Flags: []ucli.Flag{socketFlag(), cli.OutputFlag()},
		Action: func(c *ucli.Context) error {
			s, err := sidecar.NewClient(c.String("socket")).Status(c.Context)
			if err != nil {
				return coded(err)
			}
			if err := printStatus(c, s); err != nil {
				return err
			}
			if failing(s) {
				return &cli.SilentError{Code: cli.ExitFailed}
			}
			return nil
		},
	}
}

// failing reports whether the registry was tried and did not acknowledge the heartbeat.
func failing(s sidecar.Status) bool { return s.FailingFor > 0 || s.Failure != "" }

func printStatus(c *ucli.Context, s sidecar.Status) error {
	if cli.WantsJSON(c) {
		return cli.JSON(c, s)
	}
	return cli.Table(c.App.Writer, statusRows(s, time.Now()))
}

func statusRows(s sidecar.Status, now time.Time) [][]string {
	rows := [][]string{
		{"instance", s.InstanceID},
		{"sidecar", fmt.Sprintf("%s since %s", s.Phase, cli.When(s.Since, now))},
		{"timeout", s.HeartbeatTimeout.String()},
		{"heartbeat", heartbeat(s, now)},
	}
	if s.Failure != "" {
		rows = append(rows, []string{"failure", s.Failure})
	}
	if s.ClockBehind > 0 {
		rows = append(rows, []string{"clock", cli.ClockBehind(time.Duration(s.ClockBehind))})
	}
	now = now.Add(time.Duration(s.ClockBehind)) // what follows is not dated by this machine
	if l := s.Lease; l != nil {
		rows = append(rows, []string{"lease", string(l.State)}, []string{"holder", l.Holder},
			[]string{"expires", cli.When(l.ExpiresAt, now)}, []string{"not after", cli.When(l.MaxExpiresAt, now)})
		if l.Mark != nil {
			rows = append(rows, []string{"marked", fmt.Sprintf("%s, ends %s unless extended", l.Mark.Cause, cli.When(l.Mark.Deadline, now))})
		}
	} else {
		rows = append(rows, []string{"lease", "none bound yet"})
	}
	return rows
}

// heartbeat tells of the last renewal that the registry acknowledged.
func heartbeat(s sidecar.Status, now time.Time) string {
	switch {
	case s.RenewedAt.IsZero() && failing(s):
		return "never acknowledged"
	case s.RenewedAt.IsZero():
		return "not renewed yet"
	case failing(s):
		return "last renewed " + cli.Away(s.RenewedAt.Sub(now)) + ", not acknowledged since"
	}
	return "last renewed " + cli.Away(s.RenewedAt.Sub(now))
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
			&ucli.StringFlag{Name: "for", Usage: "until this `DURATION` from now, as in 90m, 8h or 3d"},
			&ucli.StringFlag{Name: "by", Usage: "this `DURATION` more than granted at present"},
			&ucli.StringFlag{Name: "until", Usage: "until this `DATE`, RFC 3339 or local time"},
			&ucli.BoolFlag{Name: "strict", Usage: "refuse rather than grant less than asked for"},
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
	if err != nil {
		return coded(err)
	}
	partly := error(nil)
	if extended.Clamped {
		way := "an operator extends it further, with `lease extend`"
		if extended.Granted.Equal(extended.Lease.MaxExpiresAt) {
			way = "that is its latest date, which an operator moves with `lease extend --max-term`"
		}
		cli.Say(c, "granted less than asked for: from here, to %s at most; %s", extended.Granted.UTC().Format(time.RFC3339), way)
		partly = &cli.SilentError{Code: cli.ExitPartly}
	}
	now := time.Now()
	cli.SayClock(c, lease.Reckoning{Now: now, Behind: time.Duration(extended.ClockBehind), Late: time.Duration(extended.SweepLate)})
	if cli.WantsJSON(c) {
		return errors.Join(cli.JSON(c, extended), partly)
	}
	now = now.Add(time.Duration(extended.ClockBehind))
	words := fmt.Sprintf("%s %s → %s", extended.Lease.InstanceID, cli.When(extended.Before, now), cli.When(extended.Granted, now))
	if extended.Granted.Equal(extended.Before) {
		words = fmt.Sprintf("%s holds until %s already", extended.Lease.InstanceID, cli.When(extended.Granted, now))
	}
	return errors.Join(cli.Prose(c.App.Writer, words), partly)
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

func releaseCommand() *ucli.Command {
	return &ucli.Command{
		Name: "release", Usage: "give the lease back, which ends this instance; for root",
		Flags: []ucli.Flag{
			socketFlag(), cli.OutputFlag(), cli.YesFlag(),
			cli.ReasonFlag("the lease's history"),
		},
		Action: release,
	}
}

func release(c *ucli.Context) error {
	client := sidecar.NewClient(c.String("socket"))
	if !c.Bool("yes") { // whoever is asked is told which instance that is
		s, err := client.Status(c.Context)
		if err != nil {
			return coded(err)
		}
		if err := cli.Confirm(c, fmt.Sprintf("release the lease of this instance, %s, which ends it", s.InstanceID), func() error {
			now, err := client.Status(c.Context)
			if err != nil {
				return coded(err)
			}
			switch {
			case now.InstanceID != s.InstanceID:
				return cli.Overtaken("this instance was %s and is %s", s.InstanceID, now.InstanceID)
			case s.Lease != nil && now.Lease != nil && !now.Lease.ExpiresAt.Equal(s.Lease.ExpiresAt):
				return cli.Overtaken("%s was extended or shortened by somebody else", s.InstanceID)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	released, err := client.Release(c.Context, c.String("reason"))
	if err != nil {
		return coded(err)
	}
	if cli.WantsJSON(c) {
		return cli.JSON(c, released)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s released; the janitor ends it at its next look\n", released.InstanceID)
	return err
}

// coded gives an error of the sidecar its exit code.
func coded(err error) error {
	if short, ok := errors.AsType[*lease.ShortenError](err); ok { // from inside, no flag shortens a lease
		advice := "; ask for a later date"
		if short.ExpiresAt.IsZero() {
			advice = ", so there is nothing to extend"
		}
		err = cli.WithAdvice(advice, err)
	}
	if _, ok := errors.AsType[*sidecar.NotRunningError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.UnavailableError](err); ok {
		return cli.WithCode(cli.ExitMissing, err)
	}
	if _, ok := errors.AsType[*sidecar.ForbiddenError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	if _, ok := errors.AsType[*sidecar.ClosedError](err); ok {
		return cli.WithCode(cli.ExitRefused, err)
	}
	if _, ok := errors.AsType[*sidecar.OutcomeUnknownError](err); ok {
		return cli.WithCode(cli.ExitUnknown, err)
	}
	return err
}
