package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/launch"
)

// examineFor bounds all calls of AWS together.
const examineFor = 45 * time.Second

// examineAWS checks the AWS settings, the clock, and what EC2 would allow.
func (e *examination) examineAWS(c *ucli.Context) {
	ctx, cancel := context.WithTimeout(c.Context, examineFor)
	defer cancel()
	cloud, err := openCloud(ctx, c, c.String("region"))
	if err != nil {
		l := levelWarn // enough for list and extend
		if e.role != "" {
			l = levelFail
		}
		e.add("aws", l, "%v; list, extend and release work without AWS", err)
		return
	}
	if cloud.Caller() == "" {
		e.add("aws", levelNote, "account %s, from --account; STS was not asked", cloud.Location().Account)
	} else {
		e.add("aws", levelOK, "%s in account %s", cloud.Caller(), cloud.Location().Account)
	}
	switch {
	case e.sweep.Time.IsZero():
		e.add("region", levelNote, "%s", cloud.Location().Region)
	case e.sweep.Names(cloud.Location()):
		e.add("region", levelOK, "%s, where the janitor sweeps", cloud.Location().Region)
	default:
		e.add("region", levelWarn, "%s, which the last sweep does not cover: set AWS_REGION, or start `janitor run` with this --region", cloud.Location())
	}
	e.examineClock(ctx, cloud)
	e.examineHops(ctx, cloud)
	e.examineRoles(ctx, c, cloud)
}

func (e *examination) examineClock(ctx context.Context, cloud *ec2.Cloud) {
	skew, dated, err := cloud.Clock(ctx)
	switch {
	case err != nil:
		e.add("clock", levelWarn, "not compared: %v", err)
	case !dated:
		e.add("clock", levelNote, "this EC2 endpoint does not report its time, so instances are not terminated for an expiry there")
	case skew.Abs() > lease.MaxSkew:
		e.add("clock", levelFail, "%v", &ec2.ClockError{Skew: skew})
	default:
		e.add("clock", levelOK, "within %s of EC2's clock", max(skew.Abs().Round(time.Second), time.Second))
	}
	if err != nil {
		return
	}
	e.examineTokens(ctx, cloud)
}

// sampled is how many instances are asked whether they show the client token that they were launched with.
const sampled = 20

// examineTokens finds out whether the endpoint honours client tokens, as far as that can be told without creating anything.
func (e *examination) examineTokens(ctx context.Context, cloud *ec2.Cloud) {
	here := cloud.Location()
	ignored := &launch.TokensIgnoredError{Location: here, Product: cloud.IgnoresTokens(), Instance: e.registry.Tokenless[here.String()]}
	if ignored.Product == "" && ignored.Instance == "" {
		ignored.Instance = e.tokenless(ctx, cloud)
	}
	switch {
	case e.registry.Animas[here.String()] == lease.AnimaKeyPair:
		e.add("endpoint", levelOK, "launches there use --anima key-pair, as noted in the registry")
	case ignored.Product != "" || ignored.Instance != "":
		e.add("endpoint", levelWarn, "%v", advice.EC2(ignored))
	default:
		if err := cloud.FindsByToken(ctx); err != nil { // although it has just described instances
			e.add("endpoint", levelWarn, "it cannot find instances by client token, so it may ignore client tokens: a resumed launch may launch "+
				"twice there (%v); use --anima key-pair", err)
		}
	}
}

// tokenless is an instance that was launched with a client token, and does not show it; empty if none of a few is known.
func (e *examination) tokenless(ctx context.Context, cloud *ec2.Cloud) string {
	var ids []string
	for n := range e.leases {
		l := &e.leases[n]
		if l.Location() == cloud.Location() && l.Live() && l.ClientToken != "" && l.KeyName == "" && len(ids) < sampled {
			ids = append(ids, l.InstanceID)
		}
	}
	listing, err := cloud.Describe(ctx, ids)
	if err != nil {
		return ""
	}
	for _, i := range listing.Instances {
		if i.ClientToken == "" {
			return i.ID
		}
	}
	return ""
}

func (e *examination) examineRoles(ctx context.Context, c *ucli.Context, cloud *ec2.Cloud) {
	stage, err := cloud.Stage(ctx, e.registry.UUID)
	if err != nil {
		e.add("roles", e.lacking(e.role), "nothing can be rehearsed: %v", advice.EC2(err))
		return
	}
	if image := c.String("image-id"); image != "" {
		stage.ImageID = image
	}
	if e.registry.UUID == "" {
		e.add("roles", e.lacking(e.role), "no launch can be rehearsed while the registry cannot be read")
	} else if stage.Launch, err = launch.Sample(stage); err != nil {
		e.add("roles", e.lacking(e.role), "no launch can be rehearsed: %v", err)
	}
	all := cloud.Rehearse(ctx, stage)
	for _, one := range all {
		if len(one.Made) > 0 {
			e.add("rehearsal", levelFail, "this endpoint ignored DryRun of %s and created %s without a lease: terminate it by hand", one.Need, strings.Join(one.Made, ", "))
		}
	}
	for _, role := range ec2.Roles() {
		refused, unclear := role.Lacks(all)
		check := "as " + string(role)
		switch {
		case len(refused) > 0:
			e.add(check, e.lacking(role), "no: EC2 refuses %s; give %s the policy deploy/iam/%s.json", actions(refused), cmp.Or(cloud.Caller(), "its credentials"), role)
		case len(unclear) > 0:
			e.add(check, levelNote, "could not check %s: %v", actions(unclear), advice.EC2(unclear[0].Err))
		default:
			e.add(check, levelOK, "yes")
		}
	}
}

// lacking is how bad it is that a role lacks permissions.
func (e *examination) lacking(role ec2.Role) level {
	if role != "" && role == e.role {
		return levelFail
	}
	return levelNote
}
