package main

import (
	"errors"
	"fmt"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/janitor/plan"
	"lapse/lease"
)

// unleased is what the registry alone has to say of an instance that has no lease, or none that can be read.
func (k knowledge) unleased(id string) *account {
	if err := k.bad(id); err != nil {
		a := &account{lead: fmt.Sprintf("%s is kept: its record cannot be read, so its instance is spared.", id)}
		a.say("record", "%v.", cli.Advise(err))
		return a
	}
	return &account{lead: fmt.Sprintf("%s has no lease on record.", id)}
}

// tellUnleased explains an instance that EC2 shows and that has no lease: whose it is, and what gives it one.
func (k knowledge) tellUnleased(v plan.Verdict, t timeWords) *account {
	i, id := *v.Instance, v.InstanceID
	a := &account{lead: fmt.Sprintf("%s is left alone: no lease of it is on record, and nothing is ended for want of a record.", id)}
	adopt := fmt.Sprintf("`lease adopt %s --term 24h` gives it a lease; else end it in EC2 yourself.", id)
	_, err := lease.NewRecovery(k.snapshot, lease.RecoveryTerms{}).Lease(t.now, i, lease.By{})
	cannot, _ := errors.AsType[*lease.UnrecoverableError](err)
	if err == nil {
		a.say("change", "`lease recover %s` rebuilds its lease from its tags; %s", id, adopt)
		return a
	}
	if cannot == nil {
		return a
	}
	switch cannot.Obstacle {
	case lease.ObstacleForeign:
		a.lead = fmt.Sprintf("%s is none of this registry's: it bears the tag of registry %s, and nothing of ours touches it.", id, i.Tags[lease.TagRegistry])
		a.say("change", "Ask that registry: `lease why %s` with its --etcd-endpoints and --namespace.", id)
	case lease.ObstacleOver:
		a.lead = fmt.Sprintf("%s is over: EC2 says %s, and no lease of it is on record.", id, i.State)
	case lease.ObstacleExempt:
		a.lead = fmt.Sprintf("%s is kept: it bears the tag %s, and whatever bears that is never ended.", id, lease.TagExempt)
		a.say("change", "Remove the tag, and %s", adopt)
	case lease.ObstacleOpen:
		a.lead = fmt.Sprintf("%s is kept: launch %s is under way, and gives it its lease.", id, v.Token)
		a.tellOpen(v.Launch, t)
	case lease.ObstacleOrphan:
		a.lead = fmt.Sprintf("%s is left over: launch %s was closed before it got a lease.", id, v.Token)
		a.say("change", "`lease adopt %s --term 24h` before that keeps it. Two full looks at least a minute apart must have seen it first.", id)
	case lease.ObstacleCopied, lease.ObstacleDoubt, lease.ObstacleUnread, lease.ObstacleUntagged, lease.ObstacleLeased,
		lease.ObstacleUnmanaged:
		a.say("change", "%s", adopt)
	}
	return a
}

func (a *account) tellOpen(l *lease.Launch, t timeWords) {
	if l == nil {
		return
	}
	settled := l.LastSend().Add(time.Duration(l.Window))
	a.say("change", "`lease launch --id %s` goes on with it. If nobody does, the janitor closes it %s, and ends what has no lease then.",
		l.Token, cli.When(settled, t.now))
}
