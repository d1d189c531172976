package main

import (
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
)

// figure is one duration of the policy.
type figure struct {
	name  string
	usage string
	field func(*plan.Policy) *time.Duration
}

// figures have the usage that is shown in the order of the alphabet: each stands for itself.
func figures() []figure {
	return []figure{
		{"boot-grace", "silence is not judged for this `DURATION` after a launch or a start", func(p *plan.Policy) *time.Duration { return &p.BootGrace }},
		{"mark-grace", "notice of `DURATION` between a mark and the end", func(p *plan.Policy) *time.Duration { return &p.MarkGrace }},
		{"lone-grace", "notice of `DURATION` for silence while no other instance of the zone is known to renew", func(p *plan.Policy) *time.Duration { return &p.LoneGrace }},
		{"orphan-grace", "at least this `DURATION` lies between the two looks that make an orphan", func(p *plan.Policy) *time.Duration { return &p.OrphanGrace }},
		{"term-grace", "`DURATION` added to every term", func(p *plan.Policy) *time.Duration { return &p.TermGrace }},
		{"launch-window", "a launch is settled this `DURATION` after its last send", func(p *plan.Policy) *time.Duration { return &p.LaunchWindow }},
		{"absent-for", "a revoked instance that EC2 does not know is gone after this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.AbsentFor }},
		{"retention", "records of what has ended are kept for this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.Retention }},
		{"chosen-retention", "records of launches whose token somebody chose are kept for this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.ChosenRetention }},
		{"retry-max", "longest `DURATION` between two attempts to end what is stuck", func(p *plan.Policy) *time.Duration { return &p.RetryMax }},
		{"max-skew", "clock brake: nothing ends while our clock is further than this `DURATION` from EC2's", func(p *plan.Policy) *time.Duration { return &p.MaxSkew }},
		{"heartbeats-memory", "heartbeats brake: revocations for silence count for this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.LostMemory }},
		{"rate-window", "rate brake: ends that nobody declared count for this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.RateWindow }},
		{"leader-window", "health brake: changes of leader count for this `DURATION`", func(p *plan.Policy) *time.Duration { return &p.LeadershipWindow }},
	}
}

// policyFlags has a flag for each figure of the policy, with its default.
func policyFlags() []ucli.Flag {
	p := plan.DefaultPolicy()
	var flags []ucli.Flag
	const brakes, policy = "BRAKES", "POLICY" // before REGISTRY and SETTINGS in help texts
	for _, f := range figures() {
		category := policy
		if strings.Contains(f.usage, " brake: ") {
			category = brakes
		}
		flags = append(flags, &ucli.StringFlag{
			Name: f.name, Value: plain(*f.field(&p)), Usage: f.usage, EnvVars: []string{env(f.name)}, Category: category,
		})
	}
	return append(flags,
		&ucli.BoolFlag{Name: "delete-kept-volumes", Usage: "of a launch that was closed, also remove volumes that outlived instances whose lease once held", EnvVars: []string{env("delete-kept-volumes")}, Category: policy},
		&ucli.BoolFlag{Name: "complete-adoptions", Usage: "set the registry's tag on adopted instances that lack it; takes deploy/iam/janitor-adopt.json", EnvVars: []string{env("complete-adoptions")}, Category: policy},
		&ucli.IntFlag{Name: "heartbeats-min", Value: p.LostMin, Usage: "heartbeats brake: this `NUMBER` may always be silent", EnvVars: []string{env("heartbeats-min")}, Category: brakes},
		&ucli.Float64Flag{Name: "heartbeats-share", Value: p.LostShare, Usage: "heartbeats brake: `SHARE` of a zone, or of all, that may be silent", EnvVars: []string{env("heartbeats-share")}, Category: brakes},
		&ucli.IntFlag{Name: "rate-min", Value: p.RateMin, Usage: "rate brake: this `NUMBER` of ends that nobody declared is always allowed", EnvVars: []string{env("rate-min")}, Category: brakes},
		&ucli.Float64Flag{Name: "rate-share", Value: p.RateShare, Usage: "rate brake: `SHARE` of the healthy that may end without anybody having declared it", EnvVars: []string{env("rate-share")}, Category: brakes},
		&ucli.IntFlag{Name: "rollback-min", Value: p.BehindMin, Usage: "rollback brake: this `NUMBER` of sidecars may know a later state of their lease than the registry; their leases alone are held", EnvVars: []string{env("rollback-min")}, Category: brakes},
		&ucli.Float64Flag{Name: "rollback-share", Value: p.BehindShare, Usage: "rollback brake: the same, as a `SHARE` of the sidecars that beat", EnvVars: []string{env("rollback-share")}, Category: brakes},
		&ucli.IntFlag{Name: "leader-max", Value: p.LeadershipMax, Usage: "health brake: this `NUMBER` of changes of leader is allowed", EnvVars: []string{env("leader-max")}, Category: brakes},
	)
}

// plain prints a duration as people write it: 90d, 1h, 30m.
func plain(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d > 0 && d%unit.of == 0 {
			return fmt.Sprintf("%d%s", d/unit.of, unit.name)
		}
	}
	return d.String()
}

func env(flag string) string { return "LAPSE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

// readPolicy takes the figures from the flags, and refuses those that make no sense.
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
	p.LostMin, p.LostShare = c.Int("heartbeats-min"), c.Float64("heartbeats-share")
	p.RateMin, p.RateShare = c.Int("rate-min"), c.Float64("rate-share")
	p.LeadershipMax, p.DeleteKeptVolumes = c.Int("leader-max"), c.Bool("delete-kept-volumes")
	p.CompleteAdoptions = c.Bool("complete-adoptions")
	p.BehindMin, p.BehindShare = c.Int("rollback-min"), c.Float64("rollback-share")
	for name, n := range map[string]int{"heartbeats-min": p.LostMin, "rate-min": p.RateMin, "leader-max": p.LeadershipMax, "rollback-min": p.BehindMin} {
		if n < 0 {
			return p, cli.Usage("--%s %d must not be negative", name, n)
		}
	}
	return p, p.Check()
}
