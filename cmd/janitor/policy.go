package main

import (
	"time"

	"github.com/prometheus/common/model"
	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
)

// Categories of flags that only --help-all shows.
const (
	brakeFlags    = "BRAKE"
	ec2Flags      = "EC2"
	embeddedFlags = "EMBEDDED ETCD"
	policyFlags   = "POLICY"
)

// figure is one duration of the policy. One without a usage is not a setting, and help does not list it.
type figure struct {
	name  string
	usage string
	field func(*plan.Policy) *time.Duration
}

func figures() []figure {
	return []figure{
		{"boot-grace", "wait `DURATION` after boot before judging heartbeats", func(p *plan.Policy) *time.Duration { return &p.BootGrace }},
		{"mark-grace", "give notice of `DURATION` between mark and termination", func(p *plan.Policy) *time.Duration { return &p.MarkGrace }},
		{"lone-grace", "give notice of `DURATION` where no other instance is renewing", func(p *plan.Policy) *time.Duration { return &p.LoneGrace }},
		{"orphan-grace", "wait `DURATION` between the two sightings of an orphan", func(p *plan.Policy) *time.Duration { return &p.OrphanGrace }},
		{"term-grace", "wait `DURATION` after expiry before terminating", func(p *plan.Policy) *time.Duration { return &p.TermGrace }},
		{"retention", "keep records of ended leases for `DURATION`", func(p *plan.Policy) *time.Duration { return &p.Retention }},

		// Constants for operators, as [plan.DefaultPolicy] says. Tests of processes, and the demo, cannot wait minutes
		// or an hour until a failed launch is settled, an absence is proved, a refused call is repeated, or a brake is
		// released by time.
		{"launch-window", "", func(p *plan.Policy) *time.Duration { return &p.LaunchWindow }},
		{"absent-for", "", func(p *plan.Policy) *time.Duration { return &p.AbsentFor }},
		{"retry-max", "", func(p *plan.Policy) *time.Duration { return &p.RetryMax }},
		{"heartbeats-memory", "", func(p *plan.Policy) *time.Duration { return &p.LostMemory }},
		{"rate-window", "", func(p *plan.Policy) *time.Duration { return &p.RateWindow }},
		{"leader-window", "", func(p *plan.Policy) *time.Duration { return &p.LeadershipWindow }},
	}
}

// figureFlags has a flag, with its default, for each figure of the policy that an operator may change.
func figureFlags() []ucli.Flag {
	p := plan.DefaultPolicy()
	var flags []ucli.Flag
	for _, f := range figures() {
		flags = append(flags, &ucli.StringFlag{
			Name: f.name, Value: model.Duration(*f.field(&p)).String(), Usage: f.usage, Category: policyFlags, Hidden: f.usage == "",
		})
	}
	return append(flags,
		&ucli.BoolFlag{Name: "delete-kept-volumes", Usage: "delete volumes of closed launches whose lease was active, too", Category: policyFlags},
		&ucli.BoolFlag{Name: "complete-adoptions", Usage: "set missing tags on adopted instances; needs deploy/iam/janitor-adopt.json", Category: policyFlags},
		&ucli.Float64Flag{Name: "heartbeats-share", Value: p.LostShare, Usage: "engage brake heartbeats if more than `SHARE` are lost", Category: brakeFlags},
		&ucli.Float64Flag{Name: "rate-share", Value: p.RateShare, Usage: "engage brake rate above `SHARE` inferred terminations in 10 minutes", Category: brakeFlags},
	)
}

// readPolicy reads the figures from the flags, and refuses those that make no sense.
func readPolicy(c *ucli.Context) (plan.Policy, error) {
	p := plan.DefaultPolicy()
	for _, f := range figures() {
		d, err := cli.Duration(f.name, c.String(f.name))
		if err != nil {
			return p, err
		}
		if d < 0 {
			return p, cli.Usage("--%s %s must not be negative", f.name, c.String(f.name))
		}
		*f.field(&p) = d
	}
	p.LostShare, p.RateShare = c.Float64("heartbeats-share"), c.Float64("rate-share")
	p.DeleteKeptVolumes, p.CompleteAdoptions = c.Bool("delete-kept-volumes"), c.Bool("complete-adoptions")
	return p, p.Check()
}
