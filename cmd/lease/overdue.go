package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"lapse/cmd/internal/cli"
	"lapse/lease"
	"lapse/lease/etcd"
)

// circumstances are those of these leases, without reading all others if that is not needed.
func circumstances(c *ucli.Context, store *etcd.Store, leases ...lease.Lease) (lease.Circumstances, error) {
	for n := range leases {
		if mark := leases[n].Mark; mark != nil && mark.Cause.Inferred() { // then heartbeats count, too
			s, err := store.Snapshot(c.Context)
			return s.Circumstances(time.Now()), err
		}
	}
	var s lease.Snapshot
	var err error
	if s.Registry, err = store.Registry(c.Context); err != nil {
		return lease.Circumstances{}, err
	}
	s.Checkpoint, err = store.Checkpoint(c.Context)
	if known(err) { // it tells of no sweep
		err = nil
	}
	return s.Circumstances(time.Now()), err
}

// printed is a lease as programs get it: its record, and whether its instance should be gone.
type printed struct {
	lease.Lease
	overdue lease.Overdue
}

// MarshalJSON writes the record, and after it what is no part of it.
func (p printed) MarshalJSON() ([]byte, error) {
	record, err := json.Marshal(p.Lease)
	if err != nil || p.overdue == (lease.Overdue{}) {
		return record, err
	}
	beside, err := json.Marshal(p.overdue)
	if err != nil {
		return nil, err
	}
	return append(append(record[:len(record)-1], ','), beside[1:]...), nil
}

func printable(leases []lease.Lease, known lease.Circumstances) []printed {
	all := make([]printed, len(leases))
	for n := range leases {
		all[n] = printed{leases[n], known.Overdue(&leases[n], nil)}
	}
	return all
}

// overdueWords say in short what keeps an instance that should be gone.
func overdueWords(o lease.Overdue) string {
	if o.Brake != "" {
		return fmt.Sprintf("overdue (%s: %s)", o.Reason, o.Brake)
	}
	return fmt.Sprintf("overdue (%s)", o.Reason)
}

// overdue tells that the instance should be gone by its record, if something keeps it, and what to do.
func (k knowledge) overdue(e *explanation, o lease.Overdue, i lease.Instance, t timeWords) {
	if e.Overdue = o; o.Reason == "" {
		return
	}
	l := *e.Lease
	words := strings.TrimSpace(fmt.Sprintf("%s `lease unmanage %s` keeps the instance, without a lease.", k.wayOut(o, l, i), l.InstanceID))
	if l.Live() && l.Mark == nil {
		e.account.lead = fmt.Sprintf("%s is overdue: its term passed %s, and %s.", l.InstanceID, t.exact(l.ExpiresAt), keptClause(o))
		e.account.instead("change", changeOverdue(l, t))
	} else {
		words += fmt.Sprintf(" It should have gone %s, and %s.", t.when(o.Since), keptClause(o))
	}
	e.account.say("overdue", "%s", words)
}

// changeOverdue says what makes an instance legitimate again that should be gone.
func changeOverdue(l lease.Lease, t timeWords) string {
	if !l.MaxExpiresAt.IsZero() && !l.MaxExpiresAt.After(t.now) {
		return "It has had its latest date: no extension is granted any more."
	}
	return fmt.Sprintf("`lease extend %s --for 4h` gives it a new date, and changes nothing about what keeps it.", l.InstanceID)
}

// wayOut is what lets an instance end that is overdue.
func (k knowledge) wayOut(o lease.Overdue, l lease.Lease, i lease.Instance) string {
	registry := k.snapshot.Registry
	then := ": it is marked then, and terminated after that notice."
	if l.State == lease.StateRevoked {
		then = ": it is terminated then."
	}
	switch o.Reason {
	case lease.KeptByTag:
		if l.Cause == lease.CauseFailedCreation && (i.Leased() || l.TagNumber == 0) {
			return fmt.Sprintf("Its tag %s says that its lease was active.", lease.TagLeased)
		}
		return fmt.Sprintf("`lease revoke %s` ends it, whatever the tag says.", l.InstanceID)
	case lease.KeptByExempt:
		return "Remove that tag" + then
	case lease.KeptByRegistry:
		return fmt.Sprintf("Set its tag %s to %s again%s", lease.TagRegistry, registry.UUID, then)
	case lease.KeptByLaunch:
		return fmt.Sprintf("Set its tag %s to %s again%s", lease.TagLaunch, l.ClientToken, then)
	case lease.KeptStuck: // what to do is said there
		return ""
	case lease.KeptByObserving, lease.KeptByPause:
		return fmt.Sprintf("Nothing is terminated until %s.", cli.UntilArmed(registry))
	case lease.KeptUnswept:
		return k.unswept(l)
	case lease.KeptBraked:
		return fmt.Sprintf("`janitor status` says why brake %s is engaged, and what releases it.", o.Brake)
	case lease.KeptAdopting:
		return fmt.Sprintf("`lease adopt %s` sets its tag %s again.", l.InstanceID, lease.TagRegistry)
	case lease.KeptUnseen:
		return fmt.Sprintf("It counts as ended once EC2 has not known it for an hour. If it runs, see whether the janitor's credentials are of account %s.", l.Account)
	case lease.KeptByAudit:
		return "Look at the disk, and at the file that --audit-log of the janitor names: without a record nothing is terminated."
	case lease.KeptByState:
		return "Look at the disk, and at the directory that --state-dir of the janitor names: until it can be written nothing is terminated."
	case lease.KeptUnconfirmed:
		return "Look at the instance in EC2's console; the janitor asks again by itself."
	case lease.KeptWaiting, lease.KeptUnreadable:
	}
	return "The janitor's log says what it waits for, or what failed."
}

func (k knowledge) unswept(l lease.Lease) string {
	if !k.snapshot.Checkpoint.Fresh(time.Now()) {
		return "No janitor sweeps: start `janitor run`, or see why it fails."
	}
	return fmt.Sprintf("The janitor does not sweep %s: start it with --region %s, too.", l.Location(), l.Region)
}

// keptWords say what keeps an instance after its date, where that is something about itself.
func keptWords(r lease.KeptReason) string {
	switch r {
	case lease.KeptByTag:
		return "its tag " + lease.TagExpires + ", which is late or says a later date"
	case lease.KeptByExempt:
		return "its tag " + lease.TagExempt
	case lease.KeptByRegistry:
		return "the loss of its tag " + lease.TagRegistry
	case lease.KeptByLaunch:
		return "a tag " + lease.TagLaunch + ", or a client token, that is not its lease's"
	default:
		return string(r)
	}
}

func keptClause(o lease.Overdue) string {
	switch o.Reason {
	case lease.KeptStuck:
		return "EC2 refuses to terminate it"
	case lease.KeptByAudit:
		return "the audit log takes no events"
	case lease.KeptByState:
		return "the janitor cannot write its state directory"
	case lease.KeptAdopting:
		return "its tag " + lease.TagRegistry + " was not seen since it was adopted"
	case lease.KeptUnseen:
		return "EC2 does not know it"
	case lease.KeptUnswept:
		return "no janitor sweeps there"
	case lease.KeptByObserving:
		return "the registry observes"
	case lease.KeptByPause:
		return "the registry is paused"
	case lease.KeptBraked:
		return "brake " + o.Brake + " is engaged"
	case lease.KeptUnconfirmed:
		return "EC2 was asked to terminate it and has not confirmed that"
	case lease.KeptWaiting:
		return "no janitor has terminated it yet"
	case lease.KeptUnreadable:
		return "its record cannot be read"
	default:
		return "it is kept by " + keptWords(o.Reason)
	}
}
