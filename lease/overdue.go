package lease

import (
	"cmp"
	"time"
)

// KeptReason says what keeps an instance that should be gone by its record. The first of them are noted in records, too.
type KeptReason string

// What keeps an instance beyond its lease. deploy/README.md says what to do about each.
const (
	KeptByTag      KeptReason = "tag"      // [TagExpires] has not passed, or was first written after the date
	KeptByExempt   KeptReason = "exempt"   // it bears [TagExempt]
	KeptByRegistry KeptReason = "registry" // its registry tag is gone
	KeptByLaunch   KeptReason = "launch"   // its launch tag or client token is not that of its lease
	KeptStuck      KeptReason = "stuck"    // EC2 refuses to terminate it
	KeptByAudit    KeptReason = "audit"    // the audit log cannot be written
	KeptByState    KeptReason = "state"    // the janitor cannot write what it remembers, see its --state-dir

	KeptAdopting    KeptReason = "adopting"    // it was adopted, and its registry tag was never seen
	KeptUnseen      KeptReason = "unseen"      // EC2 does not know it
	KeptUnswept     KeptReason = "unswept"     // no janitor sweeps, or none sweeps its location
	KeptByObserving KeptReason = "observe"     // the registry observes
	KeptByPause     KeptReason = "paused"      // the registry is paused
	KeptBraked      KeptReason = "braked"      // a brake holds the termination back
	KeptUnconfirmed KeptReason = "unconfirmed" // EC2 was asked to terminate it, and has not confirmed
	KeptWaiting     KeptReason = "waiting"     // none of these: its turn has not come, or what was tried failed
	KeptUnreadable  KeptReason = "unreadable"  // its record cannot be read, and the date on its tag has passed
	KeptUntagged    KeptReason = "untagged"    // a settled launch left it without a lease, and it bears no registry's tag
)

// KeptReasons are all of them.
func KeptReasons() []KeptReason {
	return []KeptReason{
		KeptByTag, KeptByExempt, KeptByRegistry, KeptByLaunch, KeptStuck, KeptByAudit, KeptByState, KeptAdopting, KeptUnseen,
		KeptUnswept, KeptByObserving, KeptByPause, KeptBraked, KeptUnconfirmed, KeptWaiting, KeptUnreadable, KeptUntagged,
	}
}

// OverdueAfter is how long an instance may outlive its lease before it is overdue for a reason that may pass by itself: EC2
// takes minutes to terminate one.
const OverdueAfter = 5 * time.Minute

// loneMax is how long after the deadline of its mark a lease without a heartbeat may wait for a witness.
const loneMax = time.Hour

// Overdue says that an instance should be gone by its record, and is not. The zero value says that it is not overdue.
type Overdue struct {
	Reason KeptReason `json:"overdue,omitzero"`
	Since  time.Time  `json:"overdue_since,omitzero"` // when it should have gone
	Brake  string     `json:"overdue_brake,omitzero"` // which one holds it, if the reason is [KeptBraked]
}

// Circumstances are what is known, beside its own record, of whether the instance of a lease can be terminated.
type Circumstances struct {
	Now        time.Time
	TermGrace  time.Duration
	UUID       string // of the registry
	Mode       Mode
	Fresh      bool              // a janitor sweeps
	Swept      map[Location]bool // where it does
	Brakes     []Brake
	Behind     map[string]int64     // leases that are held back one by one: see [Checkpoint]
	Unable     KeptReason           // why the leader terminates nothing; empty: it can
	Heartbeats map[string]Heartbeat // by instance id
}

// Circumstances are those that the registry tells at now.
func (s Snapshot) Circumstances(now time.Time) Circumstances {
	c := Circumstances{
		Now: now, TermGrace: time.Duration(s.Checkpoint.TermGrace), UUID: s.Registry.UUID, Mode: s.Registry.Mode,
		Fresh: s.Checkpoint.Fresh(now), Swept: make(map[Location]bool, len(s.Checkpoint.Locations)),
		Brakes: s.Registry.Stands(s.Checkpoint.Brakes), Behind: s.Checkpoint.Behind, Unable: s.Checkpoint.Unable, Heartbeats: s.Heartbeats,
	}
	for _, p := range s.Checkpoint.Locations {
		c.Swept[p] = true
	}
	return c
}

// Due is when the instance should go by its record, with grace added to the agreed date: zero if that is not foreseeable.
func (l *Lease) Due(grace time.Duration) time.Time {
	switch {
	case l.State == StateRevoked:
		return l.RevokedAt
	case !l.Live():
		return time.Time{}
	case l.Mark != nil && (l.Mark.Cause == CauseExpired || l.ExpiresAt.IsZero() || l.Mark.Deadline.Before(l.ExpiresAt)):
		return l.Mark.Deadline
	case l.ExpiresAt.IsZero():
		return time.Time{}
	}
	return l.ExpiresAt.Add(grace)
}

// Untouchable says what keeps an instance whatever the dates of its lease say, or is empty.
func (l *Lease) Untouchable(uuid string, i *Instance) KeptReason {
	switch {
	case i.Exempt():
		return KeptByExempt
	case !i.ManagedBy(uuid):
		return KeptByRegistry
	case !l.Binds(*i):
		return KeptByLaunch
	}
	return ""
}

// Refused reports whether EC2 has refused to terminate the instance of a revoked lease.
func (l *Lease) Refused() bool {
	return l.Stuck != "" && (l.KeptReason == KeptStuck || l.KeptReason == "")
}

// Overdue says whether the instance of a lease should be gone by its record and is not, since when, and what keeps it. i
// is what EC2 says of it; nil if that is not known, and then the record and the circumstances alone tell.
func (c Circumstances) Overdue(l *Lease, i *Instance) Overdue {
	due := l.Due(c.TermGrace)
	late := !c.Now.Before(due.Add(OverdueAfter))
	if ahead := due.Sub(c.Now); l.State == StateRevoked && ahead > 0 { // by a clock that was ahead: nobody knows when
		due, late = c.Now, ahead > OverdueAfter
	}
	if due.IsZero() || c.Now.Before(due) || i != nil && i.State == InstanceTerminated {
		return Overdue{}
	}
	inferred := l.State == StateActive && l.Mark != nil && l.Mark.Cause.Inferred() && !l.Over(c.Now, c.TermGrace)
	if inferred && c.Heartbeats[l.InstanceID].Held {
		return Overdue{} // the mark is about to be taken back
	}
	kept := c.noted(l)
	if i != nil {
		kept = c.shown(l, i, inferred)
	}
	if kept != "" && (late || kept != KeptByTag || l.State == StateRevoked) { // the tag of an active lease may be on its way
		return Overdue{Reason: kept, Since: due}
	}
	if !late {
		return Overdue{}
	}
	o := Overdue{Since: due}
	o.Reason, o.Brake = c.passing(l, i, inferred)
	if inferred && o.Brake == "" && c.Now.Before(due.Add(loneMax+OverdueAfter)) {
		return Overdue{} // it waits for a witness
	}
	return o
}

// noted is what keeps the instance by its record.
func (c Circumstances) noted(l *Lease) KeptReason {
	switch {
	case l.State == StateRevoked && l.TagNumber > 0:
		return KeptByTag
	case l.State == StateRevoked && l.Stuck != "":
		return cmp.Or(l.KeptReason, KeptStuck)
	case l.State == StateActive && !l.KeptSince.IsZero() && !l.markedForTerm(): // once it is marked, what kept it is gone
		return l.KeptReason
	}
	return ""
}

// shown is what keeps the instance by what EC2 shows of it, or else refused.
func (c Circumstances) shown(l *Lease, i *Instance, inferred bool) KeptReason {
	if !i.Alive() || l.State == StateAdopting {
		return ""
	}
	if why := l.Untouchable(c.UUID, i); why != "" {
		return why
	}
	tag, revoked := i.Expiry(), l.State == StateRevoked
	forDate := !revoked && !inferred || revoked && l.Cause == CauseExpired
	switch {
	case forDate && !tag.Passed(c.Now, c.TermGrace), revoked && Compare(*l, tag).State == RecordBehind,
		revoked && l.Cause == CauseFailedCreation && i.Leased():
		return KeptByTag
	}
	if why := c.noted(l); why == KeptStuck || why == KeptByAudit {
		return why
	}
	return ""
}

// passing is what keeps the instance, if nothing does that concerns it alone, and which brake.
func (c Circumstances) passing(l *Lease, i *Instance, inferred bool) (why KeptReason, brake string) {
	brake = c.brake(l, inferred)
	switch {
	case i != nil && !i.Alive():
		return KeptUnconfirmed, ""
	case i == nil && !l.AbsentSince.IsZero():
		return KeptUnseen, ""
	case l.State == StateAdopting:
		return KeptAdopting, ""
	case !c.Fresh, brake == "" && !c.Swept[l.Location()]: // where the listing failed, a brake says so
		return KeptUnswept, ""
	case c.Mode != ModeArmed:
		return KeptReason(c.Mode), ""
	case c.Unable != "":
		return c.Unable, ""
	case brake != "":
		return KeptBraked, brake
	case l.Tries > 0:
		return KeptUnconfirmed, ""
	}
	return KeptWaiting, ""
}

// brake is the name of a brake that holds the lease's termination back, if one does.
func (c Circumstances) brake(l *Lease, inferred bool) string {
	for _, b := range c.Brakes {
		zone := b.Scope == "" || b.Scope == l.Zone || b.Scope == l.ZoneID
		if b.Standing() || b.Scope != "" && b.Scope == l.Location().String() || inferred && zone {
			return b.Name
		}
	}
	if _, behind := c.Behind[l.InstanceID]; behind {
		return BrakeRollback
	}
	return ""
}
