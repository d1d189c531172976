package main

import (
	"errors"
	"fmt"
	"time"

	"lapse/cmd/internal/cli"
	"lapse/cmd/internal/registry"
	"lapse/janitor/plan"
	"lapse/lease"
)

// unleased explains, from the registry alone, an instance that has no lease, or an unreadable one.
func (k knowledge) unleased(id string) *account {
	if err := k.bad(id); err != nil {
		a := &account{lead: fmt.Sprintf("%s is kept: its record cannot be read, so it is not terminated.", id)}
		a.say("record", "%v.", registry.Advise(err))
		return a
	}
	return &account{lead: fmt.Sprintf("%s has no lease on record.", id)}
}

// tellUnleased explains an instance in EC2 that has no lease: which registry it belongs to, and how to give it a lease.
func (k knowledge) tellUnleased(v plan.Verdict, t timeWords) *account {
	i, id := *v.Instance, v.InstanceID
	a := &account{lead: fmt.Sprintf("%s is left alone: it has no lease on record, and a missing record terminates nothing.", id)}
	adopt := fmt.Sprintf("`lease adopt %s --term 24h` gives it a lease; otherwise terminate it in EC2 yourself.", id)
	_, err := lease.NewRecovery(k.snapshot, lease.RecoveryTerms{}).Lease(t.now, i, lease.By{})
	cannot, _ := errors.AsType[*lease.UnrecoverableError](err)
	if err == nil {
		a.say("change", "`lease recover %s` rebuilds its lease from its tags; %s", id, adopt)
		return a
	}
	if cannot == nil {
		return a
	}
	if v.Kept == lease.KeptUntagged {
		a.lead = fmt.Sprintf("%s is left over, but kept: launch %s is %s without giving it a lease, and the janitor cannot terminate it without the tag %s.",
			id, v.Token, v.Launch.State, lease.TagRegistry)
		a.say("change", "Let the janitor set that tag (`janitor run --complete-adoptions`), set it to %s yourself, or terminate the instance in EC2; "+
			"`lease adopt %s --term 24h` keeps it.", k.snapshot.Registry.UUID, id)
		return a
	}
	switch cannot.Obstacle {
	case lease.ObstacleForeign:
		a.lead = fmt.Sprintf("%s belongs to another registry: it bears the tag of registry %s, and this registry does not touch it.", id, i.Tags[lease.TagRegistry])
		a.say("change", "Ask that registry: run `lease why %s` with its --etcd-endpoints and --namespace.", id)
	case lease.ObstacleOver:
		a.lead = fmt.Sprintf("%s is gone: EC2 reports it as %s, and it has no lease on record.", id, i.State)
	case lease.ObstacleExempt:
		a.lead = fmt.Sprintf("%s is kept: it bears the tag %s, and an instance with that tag is never terminated.", id, lease.TagExempt)
		a.say("change", "Remove the tag; then %s", adopt)
	case lease.ObstacleOpen:
		a.lead = fmt.Sprintf("%s is kept: launch %s is in progress, and will give it a lease.", id, v.Token)
		a.tellOpen(v.Launch, t)
	case lease.ObstacleOrphan:
		a.lead = fmt.Sprintf("%s is left over: launch %s was closed before it got a lease.", id, v.Token)
		a.say("change", "It is terminated after two full listings, at least a minute apart, have shown it; `lease adopt %s --term 24h` before that keeps it.", id)
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
	a.say("change", "`lease launch --id %s` resumes it. If nobody does, the janitor closes it %s, and terminates its instances that have no lease by then.",
		l.Token, cli.When(settled, t.now))
}
