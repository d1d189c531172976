package main

import (
	"fmt"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/advice"
	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/ec2"
)

// mayEnd refuses an instance if terminating it would only start another one, unless that is allowed or prevented first.
func (a *adoption) mayEnd(id string) error {
	r, replaced := a.replacers[id]
	if !replaced || a.allowReplacement || a.spotToCancel(id) != "" {
		return nil
	}
	why := fmt.Sprintf("%s starts another instance when this one is terminated", r)
	advice := map[ec2.ReplacerKind]string{
		ec2.ReplacerGroup:     "detach the instance from it first",
		ec2.ReplacerFleet:     "delete the fleet first, and keep its instances",
		ec2.ReplacerSpotFleet: "cancel the fleet first, and keep its instances",
		ec2.ReplacerSpot:      "use --cancel-spot-request to cancel it first",
	}[r.Kind]
	switch {
	case r.Err != nil:
		why = fmt.Sprintf("%s may start another instance when this one is terminated (%v)", r, r.Err)
		advice = "try again"
	case a.cancelSpot && r.Kind == ec2.ReplacerSpot:
		why = fmt.Sprintf("EC2 may terminate it when %s is cancelled, because it is %s", r, a.found[id].State)
		advice = "start it first"
	}
	return cli.WithCode(cli.ExitRefused, fmt.Errorf("cannot adopt %s: %s; %s, or use --allow-replacement", id, why, advice))
}

// spotToCancel is the spot request to cancel before an instance is adopted; empty if none. The request of an instance
// that is not running is left: EC2 terminates some of those with their request.
func (a *adoption) spotToCancel(id string) string {
	r := a.replacers[id]
	if a.cancelSpot && r.Kind == ec2.ReplacerSpot && r.Err == nil && a.found[id].State == lease.InstanceRunning {
		return r.ID
	}
	return ""
}

// cancelRequest cancels the spot request of an instance to adopt, if that was requested. It describes the instance
// again first, since minutes may have passed: EC2 terminates some stopped instances with their request.
func (a *adoption) cancelRequest(c *ucli.Context, id string) error {
	spot := a.spotToCancel(id)
	if spot == "" {
		return nil
	}
	listing, err := a.cloud.Describe(c.Context, []string{id})
	if err != nil {
		return advice.EC2(fmt.Errorf("%s was not adopted: %w", id, err))
	}
	state := lease.InstanceState("unknown to EC2")
	for _, i := range listing.Instances {
		state = i.State
	}
	if state != lease.InstanceRunning {
		return cli.WithCode(cli.ExitRefused, fmt.Errorf(
			"cannot adopt %s: EC2 may terminate it when spot request %s is cancelled, because it is %s; start it, then run this again", id, spot, state))
	}
	if err := a.cloud.Remove(c.Context, lease.Leftover{Kind: lease.LeftoverSpot, ID: spot}).Err; err != nil {
		return advice.EC2(fmt.Errorf("%s was not adopted: %w", id, err))
	}
	cli.Say(c, "spot request %s of %s is cancelled", spot, id)
	return nil
}

// warnOf warns if the lease of an instance will not work as expected.
func (a *adoption) warnOf(c *ucli.Context, id string) {
	if r, replaced := a.replacers[id]; replaced && a.spotToCancel(id) == "" {
		cli.Say(c, "warning: %s belongs to %s, which starts another instance when this one is terminated", id, r)
	}
	if a.heartbeatTimeout > 0 && a.before[id].State == lease.StateUnmanaged {
		cli.Say(c, "warning: a sidecar of %s stops when it learns that its instance is unmanaged; start it again, or the instance is terminated for a lost heartbeat", id)
	}
	if a.found[id].Exempt() {
		cli.Say(c, "warning: %s bears the tag %s, so it is never terminated", id, lease.TagExempt)
	}
}
