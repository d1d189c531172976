package main

import (
	"context"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func extendCommand() *ucli.Command {
	return &ucli.Command{
		Name: "extend", Usage: "move the expiry of leases", ArgsUsage: "ID…",
		Description: "Give one of --for (from now), --by (added to the current expiry) and --until (a date). It grants no more\n" +
			"than the lease's maximum, and never shortens a lease unless told to: --for changes nothing where the lease\n" +
			"lasts longer already. Exit code 6: it granted less than requested. --max-term, for operators, moves the\n" +
			"maximum, alone or beside one of the three.\n\n" +
			"   lease extend i-0123456789abcdef0 --for 4h\n" +
			"   lease extend nightly --by 30m --reason \"tests are slow today\"\n" +
			"   lease extend i-0123456789abcdef0 --until \"2027-02-01 18:00\" --strict\n" +
			"   lease extend i-0123456789abcdef0 --max-term 14d --for 10d",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), cli.AccountFlag(), reasonFlag(),
			&ucli.StringFlag{Name: "for", Usage: "expire `DURATION` from now, as in 90m, 8h or 3d"},
			&ucli.StringFlag{Name: "by", Usage: "add `DURATION` to the current expiry"},
			&ucli.StringFlag{Name: "until", Usage: "expire at `DATE`, RFC 3339 or local time"},
			&ucli.StringFlag{Name: "max-term", Usage: "move the maximum to `DURATION` from now, DATE or none"},
			&ucli.BoolFlag{Name: "strict", Usage: "refuse rather than grant less than requested"},
			&ucli.BoolFlag{Name: "at-least", Usage: "leave leases that last longer as they are"},
			&ucli.BoolFlag{Name: "allow-shorten", Usage: "allow a date earlier than the current one"}),
		Action: registry.WithStore(readMove, extend),
	}
}

func extend(c *ucli.Context, store *etcd.Store, to move) error {
	all, err := someTargets(c.Context, store, to.ids)
	if err != nil {
		return err
	}
	if to, err = to.reckoned(c, store); err != nil {
		return err
	}
	return each(c, all, func(t target) (done, error) { return extendOne(c, store, t, to) })
}

// move is how expiries and maximums are to change.
type move struct {
	ids          []string      // of leases and launches
	until        time.Time     // the same for all leases; zero if by is given, or the expiry does not move
	by           time.Duration // added to the current expiry of each lease
	after        time.Duration // until is this long from now; zero if until was given as a date
	limited      bool          // the maximum moves
	maxExpiresAt time.Time     // to this; zero: none
	limit        time.Duration // maxExpiresAt is this long from now; zero if it was given as a date, or is none
	now          time.Time     // by our clock, or the last sweep if that is later
}

// readMove reads --max-term and one of --for, --by and --until. At least one of them must be given.
func readMove(c *ucli.Context) (m move, err error) {
	if m.ids, err = named(c); err != nil {
		return m, err
	}
	m.now = time.Now()
	given := 0
	for _, name := range []string{"for", "by", "until"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given > 1 || given == 0 && !c.IsSet("max-term") {
		return m, cli.Usage("give exactly one of --for, --by and --until; see `lease extend --help`")
	}
	switch {
	case c.IsSet("for"):
		m.after, err = cli.Duration("for", c.String("for"))
		switch text := c.String("for"); {
		case err != nil || m.after > 0:
		case m.after < 0:
			err = cli.Usage("--for %s must be above zero; for an earlier date use --by %s --allow-shorten", text, text)
		default:
			err = cli.Usage("--for %s must be above zero; to terminate the instance now, use `lease release`", text)
		}
	case c.IsSet("by"):
		m.by, err = cli.Duration("by", c.String("by"))
		if err == nil && m.by == 0 {
			err = cli.Usage("--by %s changes nothing; give another duration", c.String("by"))
		}
	case c.IsSet("until"):
		m.until, err = cli.DateFlag(c, "until")
	}
	if err != nil || !c.IsSet("max-term") {
		return m, err
	}
	return m.readLimit(c)
}

func (m move) readLimit(c *ucli.Context) (move, error) {
	m.limited = true
	text := c.String("max-term")
	if _, isDate := cli.Date("max-term", text); isDate == nil {
		at, err := cli.DateFlag(c, "max-term")
		m.maxExpiresAt = at
		return m, err
	}
	d, err := cli.DurationOrNone("max-term", text)
	if _, isDuration := cli.Duration("max-term", text); isDuration != nil && text != "none" {
		err = cli.Usage("--max-term %q is not valid; give a duration such as 14d, a date such as %s, or none", text, m.now.AddDate(0, 0, 14).Format(time.DateOnly))
	}
	m.limit = d
	return m, err
}

// reckoned computes the dates from the right time, as far as that can be known, and refuses dates that have passed. If
// EC2 reports that this clock is wrong, it refuses durations, but accepts dates, which do not depend on the clock. If
// EC2 does not report its time (a lease can be extended without AWS), the last sweep shows whether this clock is
// behind.
func (m move) reckoned(c *ucli.Context, store *etcd.Store) (move, error) {
	switch skew, told := clockSkew(c, ""); {
	case told && skew.Abs() <= lease.MaxSkew:
	case told && (m.after != 0 || m.limit != 0):
		return m, advice.EC2(&ec2.ClockError{Skew: skew})
	case told:
		cli.Say(c, "warning: %v", &ec2.ClockError{Skew: skew})
		m.now = m.now.Add(-skew)
	default:
		checkpoint, err := store.Checkpoint(c.Context)
		if err != nil && !known(err) {
			return m, err
		}
		r := checkpoint.Reckon(m.now)
		cli.SayClock(c, r)
		m.now = r.Now
	}
	if m.after != 0 {
		m.until = m.now.Add(m.after)
	}
	if m.limit != 0 {
		m.maxExpiresAt = m.now.Add(m.limit).UTC().Truncate(time.Millisecond)
	}
	for _, date := range []time.Time{m.until, m.maxExpiresAt} {
		if !date.IsZero() && !date.After(m.now) {
			return m, &lease.PastError{Time: date, Now: m.now}
		}
	}
	return m, nil
}

// date is the new expiry of one lease. It is computed before the write, so that repeating the write moves nothing
// twice.
func (m move) date(ctx context.Context, store *etcd.Store, id string) (time.Time, error) {
	if m.by == 0 {
		return m.until.UTC().Truncate(time.Millisecond), nil // zero stays zero
	}
	l, err := store.Lease(ctx, id)
	if err == nil && l.ExpiresAt.IsZero() {
		err = cli.WithCode(cli.ExitRefused, fmt.Errorf("%s has no expiry to add to; use --for or --until", id))
	}
	return l.ExpiresAt.Add(m.by), err
}

func extendOne(c *ucli.Context, store *etcd.Store, t target, to move) (done, error) {
	until, err := to.date(c.Context, store, t.id)
	if err != nil {
		return done{}, err
	}
	extension := lease.Extension{
		Until: until, Strict: c.Bool("strict"), AllowShorten: c.Bool("allow-shorten"), AtLeast: to.after != 0 || c.Bool("at-least"),
		MoveMax: to.limited, MaxExpiresAt: to.maxExpiresAt,
	}
	again := to.again(t.id, extension)
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	before, after, err := write(c.Context, store, t.id, again, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(to.now, extension, by)
	})
	if err != nil {
		return skipOver(t, before, err)
	}
	m := movedBy(extension, before, after)
	if m.Clamped {
		cli.Say(c, "%s was granted less than requested: %s is its maximum, which an operator can move with --max-term",
			t.id, after.MaxExpiresAt.Format(time.RFC3339))
	}
	return done{lease: after, said: m.words(before, to.now), result: m, less: m.Clamped}, nil
}

// again is the command that repeats an extension whose outcome is unknown. If somebody else has extended the lease
// further by then, the command does not refuse.
func (m move) again(id string, e lease.Extension) string {
	command := "extend " + id
	switch {
	case e.MoveMax && e.MaxExpiresAt.IsZero():
		command += " --max-term none"
	case e.MoveMax:
		command += " --max-term " + e.MaxExpiresAt.Format(time.RFC3339Nano)
	}
	if e.Until.IsZero() {
		return command
	}
	command += " --until " + e.Until.Format(time.RFC3339Nano)
	switch {
	case e.AllowShorten:
		command += " --allow-shorten"
	case e.AtLeast, m.by > 0:
		command += " --at-least"
	}
	if e.Strict {
		command += " --strict"
	}
	return command
}
