package sidecarcmd

import (
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/sidecar"
)

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "show what the sidecar knows of this instance's lease",
		Description: "Exit code 1: the registry does not acknowledge the heartbeat, although the sidecar tries; 3: no sidecar runs;\n" +
			"4: this user may not connect to the socket.",
		Flags: []ucli.Flag{socketFlag(), cli.OutputFlag()},
		Action: func(c *ucli.Context) error {
			s, err := sidecar.NewClient(c.String("socket")).Status(c.Context)
			if err != nil {
				return err
			}
			err = cli.Show(c, s, func() error { return cli.Table(c.App.Writer, statusRows(s, time.Now())) })
			if err == nil && failing(s) {
				err = &cli.QuietError{Code: cli.ExitFailed}
			}
			return err
		},
	}
}

// failing reports whether the registry was tried and did not acknowledge the heartbeat.
func failing(s sidecar.Status) bool { return s.FailingFor > 0 || s.Failure != "" }

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
	now = now.Add(time.Duration(s.ClockBehind)) // the dates below do not come from the clock of this machine
	if l := s.Lease; l != nil {
		rows = append(rows, []string{"lease", string(l.State)}, []string{"holder", l.Holder},
			[]string{"expires", cli.When(l.ExpiresAt, now)}, []string{"not after", cli.When(l.MaxExpiresAt, now)})
		if limit := cli.SelfExtend(l.SelfExtend); limit != "" {
			rows = append(rows, []string{"self-extend", limit})
		}
		if l.Mark != nil {
			rows = append(rows, []string{"marked", fmt.Sprintf("%s, may be terminated after %s unless extended", l.Mark.Cause, cli.When(l.Mark.Deadline, now))})
		}
	} else {
		rows = append(rows, []string{"lease", unbound(s)})
	}
	return rows
}

// unbound says why no lease is known. Nobody knows whether there is one until the registry has acknowledged a heartbeat.
func unbound(s sidecar.Status) string {
	if s.RenewedAt.IsZero() {
		return "not known yet"
	}
	return "none bound yet"
}

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
