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

// circumstances are those of these leases. It reads other leases only if they matter.
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
	if known(err) { // then there was no sweep
		err = nil
	}
	return s.Circumstances(time.Now()), err
}

// printed is a lease as printed for programs: its record, and what is known beside.
type printed struct {
	lease.Lease
	beside beside
}

// beside is whether the instance of a lease should be gone, and who renews it.
type beside struct {
	lease.Overdue
	Renewing *renewing `json:"renewing,omitempty"`
}

// renewing is a sidecar that renews just now.
type renewing struct {
	Address string    `json:"address,omitzero"`
	BootID  string    `json:"boot_id"`
	Version string    `json:"version,omitzero"`
	Since   time.Time `json:"since"` // by the instance's clock
}

// MarshalJSON writes the fields of the record, and then those that are not part of it.
func (p printed) MarshalJSON() ([]byte, error) {
	record, err := json.Marshal(p.Lease)
	if err != nil || p.beside == (beside{}) {
		return record, err
	}
	more, err := json.Marshal(p.beside)
	if err != nil {
		return nil, err
	}
	return append(append(record[:len(record)-1], ','), more[1:]...), nil
}

func printable(leases []lease.Lease, known lease.Circumstances, heartbeats map[string]lease.Heartbeat) []printed {
	all := make([]printed, len(leases))
	for n := range leases {
		all[n] = printed{leases[n], beside{Overdue: known.Overdue(&leases[n], nil)}}
		if hb := heartbeats[leases[n].InstanceID]; hb.Held && leases[n].Live() {
			all[n].beside.Renewing = &renewing{Address: hb.Address, BootID: hb.BootID, Version: hb.Version, Since: hb.Since}
		}
	}
	return all
}

// overdueWords name what keeps an instance that should be gone.
func overdueWords(o lease.Overdue) string {
	if o.Brake != "" {
		return fmt.Sprintf("overdue (%s: %s)", o.Reason, o.Brake)
	}
	return fmt.Sprintf("overdue (%s)", o.Reason)
}

// overdue tells that the instance should be gone by its record but is not, and what to do.
func (k knowledge) overdue(e *explanation, o lease.Overdue, i lease.Instance, t timeWords) {
	if e.Overdue = o; o.Reason == "" {
		return
	}
	l := *e.Lease
	words := strings.TrimSpace(fmt.Sprintf("%s `lease unmanage %s` keeps the instance, without a lease.", k.wayOut(o, l, i), l.InstanceID))
	if l.Live() && l.Mark == nil {
		e.account.lead = fmt.Sprintf("%s is overdue: its lease expired %s, but %s.", l.InstanceID, t.exact(l.ExpiresAt), keptClause(o))
		e.account.instead("change", changeOverdue(l, t))
	} else {
		words += fmt.Sprintf(" It should have been terminated %s, but %s.", t.when(o.Since), keptClause(o))
	}
	e.account.say("overdue", "%s", words)
}

// changeOverdue says what makes the lease of an overdue instance valid again.
func changeOverdue(l lease.Lease, t timeWords) string {
	if !l.MaxExpiresAt.IsZero() && !l.MaxExpiresAt.After(t.now) {
		return "Its maximum has passed, so its holder cannot extend it any more."
	}
	return fmt.Sprintf("`lease extend %s --for 4h` gives it a new expiry, but does not change why it is kept.", l.InstanceID)
}

// wayOut is what lets an overdue instance be terminated.
func (k knowledge) wayOut(o lease.Overdue, l lease.Lease, i lease.Instance) string {
	registry := k.snapshot.Registry
	then := "; it is then marked, and terminated after that notice."
	if l.State == lease.StateRevoked {
		then = "; it is then terminated."
	}
	switch o.Reason {
	case lease.KeptByTag:
		if l.Cause == lease.CauseFailedCreation && (i.Leased() || l.TagNumber == 0) {
			return fmt.Sprintf("Its tag %s says that its lease was active.", lease.TagLeased)
		}
		return fmt.Sprintf("`lease revoke %s` terminates it, whatever the tag says.", l.InstanceID)
	case lease.KeptByExempt:
		return "Remove that tag" + then
	case lease.KeptByRegistry:
		return fmt.Sprintf("Set its tag %s to %s again%s", lease.TagRegistry, registry.UUID, then)
	case lease.KeptByLaunch:
		return fmt.Sprintf("Set its tag %s to %s again%s", lease.TagLaunch, l.ClientToken, then)
	case lease.KeptStuck: // the explanation of the stuck instance says what to do
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
		return fmt.Sprintf("Its lease ends once EC2 has not found it for an hour. If it still runs, check that the janitor's credentials are for account %s.", l.Account)
	case lease.KeptByAudit:
		return "Check the disk and the file that the janitor's --audit-log names: nothing is terminated that cannot be logged."
	case lease.KeptByState:
		return "Check the disk and the directory that the janitor's --state-dir names: nothing is terminated until it can be written."
	case lease.KeptUnconfirmed:
		return "Check the instance in the EC2 console; the janitor asks EC2 again."
	case lease.KeptWaiting, lease.KeptUnreadable:
	}
	return "The janitor's log says what it waits for, or what failed."
}

func (k knowledge) unswept(l lease.Lease) string {
	if !k.snapshot.Checkpoint.Fresh(time.Now()) {
		return "No janitor sweeps: start `janitor run`, or check why it fails."
	}
	return fmt.Sprintf("The janitor does not sweep %s: start it with --region %s, too.", l.Location(), l.Region)
}

// keptWords say what keeps an instance after its expiry, if that is something about the instance.
func keptWords(r lease.KeptReason) string {
	switch r {
	case lease.KeptByTag:
		return "its tag " + lease.TagExpires + ", which is late or has a later date"
	case lease.KeptByExempt:
		return "its tag " + lease.TagExempt
	case lease.KeptByRegistry:
		return "the loss of its tag " + lease.TagRegistry
	case lease.KeptByLaunch:
		return "a tag " + lease.TagLaunch + ", or a client token, that does not match its lease"
	default:
		return string(r)
	}
}

func keptClause(o lease.Overdue) string {
	switch o.Reason {
	case lease.KeptStuck:
		return "EC2 refuses to terminate it"
	case lease.KeptByAudit:
		return "the audit log cannot be written"
	case lease.KeptByState:
		return "the janitor cannot write its state directory"
	case lease.KeptAdopting:
		return "its tag " + lease.TagRegistry + " has not been seen since it was adopted"
	case lease.KeptUnseen:
		return "EC2 does not find it"
	case lease.KeptUnswept:
		return "no janitor sweeps there"
	case lease.KeptByObserving:
		return "the registry observes"
	case lease.KeptByPause:
		return "the registry is paused"
	case lease.KeptBraked:
		return "brake " + o.Brake + " is engaged"
	case lease.KeptUnconfirmed:
		return "EC2 was asked to terminate it and has not confirmed it"
	case lease.KeptWaiting:
		return "no janitor has terminated it yet"
	case lease.KeptUnreadable:
		return "its record cannot be read"
	default:
		return "it is kept by " + keptWords(o.Reason)
	}
}
