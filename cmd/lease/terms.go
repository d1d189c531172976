package main

import (
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
)

// termFlags describe new leases.
func termFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "term", Value: "24h", Usage: "expire after `DURATION`, or none"},
		&ucli.StringFlag{Name: "max-term", Value: "7d", Usage: "allow extensions up to `DURATION` from now, or none"},
		&ucli.StringFlag{Name: "heartbeat-timeout", Value: "none", Usage: "expect a heartbeat within `DURATION`, 5s to 1h, or none"},
		&ucli.StringFlag{Name: "holder", Usage: "record `WHO` it is for: a person, team or job"},
		&ucli.StringSliceFlag{Name: "label", Usage: "label leases with `KEY=VALUE`; repeatable"},
	}
}

// terms are what leases are given.
type terms struct {
	term, maxTerm    time.Duration // from now; zero: none
	until            time.Time     // instead of term; zero: none
	heartbeatTimeout time.Duration // zero: none
	holder           string
	named            bool // somebody named the holder
	labels           map[string]string
	heartbeats       map[string]lease.Heartbeat // of the adopted instances, by instance id
}

func readTerms(c *ucli.Context) (t terms, err error) {
	for name, field := range map[string]*time.Duration{"term": &t.term, "max-term": &t.maxTerm, "heartbeat-timeout": &t.heartbeatTimeout} {
		if *field, err = cli.DurationOrNone(name, c.String(name)); err != nil {
			return t, err
		}
	}
	if c.IsSet("until") {
		if cli.Given(c, "term") {
			return t, cli.Usage("--term and --until both set the expiry; give one of them")
		}
		t.term = 0
		t.until, err = cli.DateFlag(c, "until")
		if err != nil {
			return t, err
		}
	}
	switch {
	case t.maxTerm > 0 && t.term == 0 && t.until.IsZero():
		return t, cli.Usage("--term none exceeds --max-term %s; add --max-term none, or give a term of at most %s", c.String("max-term"), c.String("max-term"))
	case t.maxTerm > 0 && t.until.After(time.Now().Add(t.maxTerm)):
		return t, cli.Usage("--until %s is later than --max-term %s allows; give a later --max-term, or none", c.String("until"), c.String("max-term"))
	case t.maxTerm > 0 && t.term > t.maxTerm:
		return t, cli.Usage("--term %s is longer than --max-term %s; give a longer --max-term, or none", c.String("term"), c.String("max-term"))
	}
	if err := lease.CheckHeartbeatTimeout(t.heartbeatTimeout); err != nil {
		return t, err
	}
	t.holder, t.named = c.String("holder"), c.IsSet("holder")
	if t.labels, err = cli.Pairs("label", c.StringSlice("label")); err != nil {
		return t, err
	}
	return t, lease.CheckLabels(t.labels)
}
