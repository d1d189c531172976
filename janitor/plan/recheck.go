package plan

import (
	"bytes"
	"cmp"
	"time"

	"lapse/lease"
)

// Spare says why an instance, as freshly described, must not be terminated after all, or is empty.
func (v Verdict) Spare(reg lease.Registry) string {
	i := v.Instance
	switch {
	case i == nil:
		return "EC2 does not find it"
	case !i.Alive():
		return "EC2 says " + string(i.State)
	case v.Cause.Inferred() && i.State != lease.InstanceRunning && v.Lease.State == lease.StateActive:
		return "its heartbeat is missing, but EC2 says " + string(i.State)
	case v.Lease != nil:
		return keptWords(v.Lease.Untouchable(reg.UUID, i))
	case i.Exempt():
		return "exempt by its tag " + lease.TagExempt
	case !i.ManagedBy(reg.UUID):
		return "does not bear this registry's tag"
	case leasedByTag(v.Launch, i) != "":
		return leasedByTag(v.Launch, i)
	}
	if _, member := v.Launch.Member(*i); !member {
		return "its client token does not belong to launch " + v.Launch.Token
	}
	return ""
}

// Outdated says why the judgement of a lease is no longer valid, by EC2 and by the clock, which has just been checked against
// EC2's; or is empty.
func (v Verdict) Outdated(judged *lease.Instance, now time.Time, p Policy) string {
	if v.Lease == nil || v.Instance == nil {
		return ""
	}
	if why := v.heldByTag(now, p); why != "" || v.Lease.State != lease.StateActive {
		return why
	}
	mark := v.Lease.Mark
	switch {
	case v.Cause == lease.CauseExpired && !v.Lease.Over(now, p.TermGrace):
		return "its lease has not expired"
	case v.Cause == lease.CauseExpired && mark != nil && mark.Cause == v.Cause && now.Before(mark.Deadline):
		return "the deadline of its mark has not passed"
	case v.Cause.Inferred() && (mark == nil || now.Before(mark.Deadline)):
		return "the deadline of its mark has not passed"
	case v.Cause.Inferred() && (judged == nil || !judged.LaunchTime.Equal(v.Instance.LaunchTime)):
		return "EC2 started it after the decision"
	}
	return ""
}

// leasedByTag says how the tags of an instance without a record tell that its lease was active, or is empty: a leader has
// said so, or the date is a newer word than the one that its launch made it with, so that the record of an orphan would be
// behind it.
func leasedByTag(launch *lease.Launch, i *lease.Instance) string {
	switch {
	case i.Leased():
		return "its tag " + lease.TagLeased + " says that its lease was active"
	case i.Expiry().Number > 0 && i.Expiry().Newer(launch.Expiry()):
		return "its tag " + lease.TagExpires + "has a date newer than its launch"
	}
	return ""
}

// heldByTag says how the tag on the instance, the second key of its date, holds the termination back, or is empty. A record
// behind its tag terminates nothing, whatever the cause: it may be older than an extension.
func (v Verdict) heldByTag(now time.Time, p Policy) string {
	tag := v.Instance.Expiry()
	switch {
	case lease.Compare(*v.Lease, tag).State == lease.RecordBehind:
		return "its tag " + lease.TagExpires + " is newer than its record"
	case v.Cause == lease.CauseExpired && !tag.Passed(now, p.TermGrace):
		return "the date on its tag " + lease.TagExpires + " has not passed"
	case v.Cause == lease.CauseFailedCreation && v.Instance.Leased():
		return "its tag " + lease.TagLeased + " says that its lease was active"
	}
	return ""
}

// keepLeftover says why a leftover is not to be removed whatever its state, by its own tags and what EC2 says of it, or is
// empty. A leftover shows no client token, so a copy of the tags is told by other means: what is copied by hand or by a
// tool onto something older or younger was not made while its launch could make anything; what the launch was asked to
// use was there before it; and what an AWS service made is the service's. An interface has no date. What protects it
// is that it must be loose, and that no lease of the launch ever held, or else that it was attached to one that did not.
func keepLeftover(reg lease.Registry, l lease.Launch, x lease.Leftover) string {
	_, member := l.Attempt(x.Tags[lease.TagLaunch])
	switch {
	case !x.ManagedBy(reg.UUID) && x.Tags[lease.TagRegistry] != "":
		return "foreign: bears another registry's tag"
	case x.Kind == lease.LeftoverKeyPair && !x.Exempt():
		if l.Registry != reg.UUID || !l.OwnsKey(x) {
			return "untracked: it has the name of a key pair of launch " + l.Token + ", but neither its id nor its tags"
		}
		return ""
	case !x.ManagedBy(reg.UUID):
		return "does not bear this registry's tag"
	case x.Exempt():
		return "exempt by its tag " + lease.TagExempt
	case !member || x.Location != l.Location():
		return "untracked: its launch tag names no attempt of launch " + l.Token + " there"
	case x.Service:
		return "an AWS service manages it"
	case bytes.Contains(l.Request, []byte(x.ID)):
		return "existed before its launch, whose request names it"
	case x.Kind != lease.LeftoverInterface && !l.Spans(x.CreatedAt):
		return "untracked: its launch cannot have created it at that time, so the tag was copied"
	}
	return ""
}

// OutdatedLeftover says why a leftover, as freshly described, is not to be removed after all, or is empty.
func OutdatedLeftover(reg lease.Registry, launch lease.Launch, was lease.Leftover, x *lease.Leftover) string {
	switch {
	case x == nil:
		return "EC2 no longer knows it"
	case keepLeftover(reg, launch, *x) != "":
		return keepLeftover(reg, launch, *x)
	case x.Kind != was.Kind || !x.Loose():
		return "EC2 says " + x.State
	case x.Leased() && !was.Leased():
		return "its tag " + lease.TagLeased + " says that a lease was active"
	case x.InstanceID != was.InstanceID:
		return "EC2 says that it now belongs to " + cmp.Or(x.InstanceID, "no instance")
	}
	return ""
}
