package main

import (
	"context"
	"fmt"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

func extendCommand() *ucli.Command {
	return &ucli.Command{
		Name: "extend", Usage: "move the date on which leases end", ArgsUsage: "ID…",
		Description: "Give one of --for (from now), --by (added to the present date) and --until (a date). Grants no more than the\n" +
			"lease's latest date, and never shortens a lease unless told to: --for moves nothing where it lasts longer already.\n\n" +
			"   lease extend i-0123456789abcdef0 --for 4h\n" +
			"   lease extend nightly-2027-01-31 --by 30m --reason \"tests are slow today\"\n" +
			"   lease extend i-0123456789abcdef0 --until \"2027-02-01 18:00\" --strict",
		Flags: append(cli.StoreFlags(), cli.OutputFlag(), cli.AccountFlag(), reasonFlag(),
			&ucli.StringFlag{Name: "for", Usage: "until this `DURATION` from now, as in 90m, 8h or 3d"},
			&ucli.StringFlag{Name: "by", Usage: "this `DURATION` more than granted at present"},
			&ucli.StringFlag{Name: "until", Usage: "until this `DATE`, RFC 3339 or local time"},
			&ucli.BoolFlag{Name: "strict", Usage: "refuse rather than grant less than asked for"},
			&ucli.BoolFlag{Name: "at-least", Usage: "leave what lasts longer already as it is, as --for does, rather than refuse"},
			&ucli.BoolFlag{Name: "allow-shorten", Usage: "allow an earlier date than the present one"}),
		Action: extend,
	}
}

func extend(c *ucli.Context) error {
	ids, err := named(c)
	if err != nil {
		return err
	}
	to, err := readMove(c, time.Now())
	if err != nil {
		return err
	}
	store, closeStore, err := cli.Store(c, nil)
	if err != nil {
		return err
	}
	defer closeStore()
	all, err := someTargets(c.Context, store, ids)
	if err != nil {
		return err
	}
	if to, err = to.reckoned(c, store); err != nil {
		return err
	}
	return each(c, all, func(t target) (done, error) { return extendOne(c, store, t, to) })
}

// move is where terms are to go.
type move struct {
	until time.Time     // the same for all; zero if each is to go by
	by    time.Duration // added to each lease's own
	after time.Duration // until is so long from now; zero if it was given as a date
	now   time.Time     // by our clock, or the last sweep if that is later
}

// readMove reads exactly one of --for, --by and --until.
func readMove(c *ucli.Context, now time.Time) (m move, err error) {
	m.now = now
	given := 0
	for _, name := range []string{"for", "by", "until"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given != 1 {
		return m, cli.Usage("give exactly one of --for, --by and --until; see `lease extend --help`")
	}
	switch {
	case c.IsSet("for"):
		m.after, err = cli.Duration("for", c.String("for"))
		m.until = now.Add(m.after)
	case c.IsSet("by"):
		m.by, err = cli.Duration("by", c.String("by"))
		if err == nil && m.by == 0 {
			err = cli.Usage("--by %s moves nothing; give another duration", c.String("by"))
		}
	default:
		m.until, err = cli.DateFlag(c, "until")
	}
	return m, err
}

// reckoned counts from the right time, as far as it can be known, and refuses a date that has passed. By EC2's word a wrong
// clock is refused, but for a date given as such, which does not depend on it. Where EC2 does not tell, for a lease can be
// extended without AWS, the last sweep shows a clock that is behind.
func (m move) reckoned(c *ucli.Context, store *etcd.Store) (move, error) {
	switch skew, told := clockSkew(c, ""); {
	case told && skew.Abs() <= lease.MaxSkew:
	case told && m.after != 0:
		return m, coded(&ec2.ClockError{Skew: skew})
	case told:
		cli.Say(c, "warning: %v", &ec2.ClockError{Skew: skew})
		m.now = m.now.Add(-skew)
	default:
		stamp, err := store.Sweep(c.Context)
		if err != nil && !is[*lease.NotFoundError](err) && !is[*lease.SchemaError](err) && !is[*lease.MalformedError](err) {
			return m, err
		}
		r := stamp.Reckon(m.now)
		cli.SayClock(c, r)
		m.now = r.Now
	}
	if m.after != 0 {
		m.until = m.now.Add(m.after)
	}
	if m.by == 0 && !m.until.After(m.now) {
		return m, &lease.PastError{Time: m.until, Now: m.now}
	}
	return m, nil
}

// date is where the term of one lease goes. It is fixed before the write, so that a write that is repeated moves
// nothing twice.
func (m move) date(ctx context.Context, store *etcd.Store, id string) (time.Time, error) {
	if m.by == 0 {
		return m.until.UTC().Truncate(time.Millisecond), nil
	}
	l, err := store.Lease(ctx, id)
	if err == nil && l.ExpiresAt.IsZero() {
		err = cli.WithCode(cli.ExitRefused, fmt.Errorf("%s has no term to add to; say --for or --until", id))
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
	}
	again := to.again(t.id, extension)
	by := lease.By{Actor: cli.Actor(), Reason: c.String("reason")}
	before, after, err := write(c.Context, store, t.id, again, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(to.now, extension, by)
	})
	if err != nil {
		return skipOver(t, before, err)
	}
	m := moved{Asked: until, Before: before.ExpiresAt, Granted: after.ExpiresAt, Lease: after}
	m.Clamped = !m.Granted.IsZero() && m.Granted.Before(until)
	if m.Clamped && !m.Granted.Equal(m.Before) {
		cli.Say(c, "%s is granted less than asked for: %s is its latest date", t.id, after.NotAfter.Format(time.RFC3339))
	}
	return done{lease: after, said: m.words(before, to.now), result: m}, nil
}

// again is the command that repeats an extension whose outcome is not known. By then the lease may last longer, by
// somebody else's word: that is no reason to refuse.
func (m move) again(id string, e lease.Extension) string {
	command := fmt.Sprintf("extend %s --until %s", id, e.Until.Format(time.RFC3339Nano))
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

// moved is what became of one extension as printed for programs, in the words of a sidecar's answer.
type moved struct {
	Asked   time.Time   `json:"asked"`            // the request as a date
	Before  time.Time   `json:"before,omitzero"`  // the term before; absent: none
	Granted time.Time   `json:"granted,omitzero"` // the term now; absent: none
	Clamped bool        `json:"clamped"`          // less was granted than asked for
	Lease   lease.Lease `json:"lease"`
}

// words tell people what became of the extension of a lease.
func (m moved) words(before lease.Lease, now time.Time) string {
	words := fmt.Sprintf("%s %s → %s", before.InstanceID, cli.When(m.Before, now), cli.When(m.Granted, now))
	switch {
	case !m.Granted.Equal(m.Before):
		return words
	case m.Granted.IsZero():
		words = before.InstanceID + " has no term, and holds until it is released"
	default:
		words = fmt.Sprintf("%s holds until %s already", before.InstanceID, cli.When(m.Granted, now))
	}
	if m.Clamped {
		words += ", which is its latest date"
	}
	if before.Mark != nil && m.Lease.Mark == nil {
		words += fmt.Sprintf("; its mark (%s) is taken back", before.Mark.Cause)
	}
	return words
}
