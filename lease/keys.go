package lease

import (
	"cmp"
	"slices"
	"time"
)

// Raise moves the date of an active lease to that of its instance's tag, where [Compare] says that the record is behind
// or earlier: the registry was set back, or somebody edited the tag. The result has the later date of both, its maximum expiry
// with it if need be, and a number above both. A date that moves cures a mark, as an extension does. Where the keys need
// no raising, nothing changes.
//
// Errors: [StateError].
func (l Lease) Raise(now time.Time, tag Expiry, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("raise")
	}
	if state := Compare(l, tag).State; state != RecordBehind && state != RecordEarlier {
		return l, nil
	}
	number := numberAfter(l.ExpiresNumber, tag.Number)
	from, to := l.ExpiresAt, l.ExpiresAt
	if later(tag.At, from) {
		to = tag.At
	}
	l = l.changed(now, ActionRaise, by)
	if to.Equal(from) {
		l.ExpiresNumber = number
		return l, nil
	}
	l.History[len(l.History)-1].From, l.History[len(l.History)-1].To = from, to
	l.Mark, l.CuredAt = nil, recorded(now)
	l = l.dated(to, number)
	if !l.MaxExpiresAt.IsZero() && later(to, l.MaxExpiresAt) {
		l.MaxExpiresAt = to
	}
	return l, nil
}

// NoteTag notes the number of a tag that is newer than the record of a revoked lease. Until an operator revokes it again
// ([Lease.RevokeAgain]), nothing is ended. Where the tag is not newer, nothing changes.
//
// Errors: [StateError].
func (l Lease) NoteTag(now time.Time, tag Expiry, by By) (Lease, error) {
	if l.State != StateRevoked {
		return l, l.refuse("note the tag of")
	}
	if l.TagNumber == tag.Number || Compare(l, tag).State != RecordBehind {
		return l, nil
	}
	l = l.changed(now, ActionNoteTag, by)
	l.TagNumber = tag.Number
	return l, nil
}

// Keep notes that something kept the instance although the date had passed on record: it is marked before it is
// terminated, and no mark from before counts. The first time is kept, until the date moves.
//
// Errors: [StateError].
func (l Lease) Keep(now time.Time, why KeptReason, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("note as kept")
	}
	if !l.KeptSince.IsZero() && l.KeptReason == why && !l.markedForTerm() {
		return l, nil
	}
	since := l.KeptSince
	if since.IsZero() {
		since = recorded(now)
	}
	l = l.changed(now, ActionKept, by)
	l.KeptSince, l.KeptReason = since, why
	if l.markedForTerm() { // what kept it may go at any time, and then it is marked again
		l.Mark = nil
	}
	return l, nil
}

func (l Lease) markedForTerm() bool { return l.Mark != nil && l.Mark.Cause == CauseExpired }

// AwaitsOperator reports whether the tag of its instance may hold a revoked lease's termination back, so that only an operator
// can let it go on: the tag is newer than the record, or the lease was revoked for its date, on which the tag must agree.
func (l Lease) AwaitsOperator() bool {
	return l.State == StateRevoked && (l.TagNumber > 0 || l.Cause == CauseExpired)
}

// RevokeAgain is an operator's word for a revoked lease that [Lease.AwaitsOperator]. It takes the number after those of
// record and tag, so that the record is the newer word again and the instance is terminated whatever the dates say.
//
// Errors: [StateError].
func (l Lease) RevokeAgain(now time.Time, by By) (Lease, error) {
	if !l.AwaitsOperator() {
		return l, l.refuse("revoke")
	}
	number := numberAfter(l.ExpiresNumber, l.TagNumber)
	l = l.changed(now, ActionRevoke, by)
	l.ExpiresNumber, l.TagNumber = number, 0
	if l.Cause != CauseFailedCreation { // which says of its volumes that no lease was ever active
		l.Cause = CauseRevoke
	}
	if l.KeptReason == KeptByTag {
		l.Stuck, l.StuckCode, l.KeptReason = "", "", ""
	}
	return l, nil
}

// Succeeding is a lease that adoption or recovery made in place of a record that exists: its date is
// numbered above that record's too, its changes and its history go on from there, and a store writes it over that revision.
// What a newer release has noted on that record stays, and so does the launch that made the instance, whose volumes and interfaces are
// no leftovers of a failed creation then.
func (l Lease) Succeeding(old Lease) Lease {
	l.ExpiresNumber = max(l.ExpiresNumber, numberAfter(old.ExpiresNumber, old.TagNumber))
	l.ShortenedAt = l.ExpiresNumber
	l.Changes = min(max(l.Changes, old.Changes+1), maxChanges)
	l.Bore = cmp.Or(l.Bore, old.ClientToken, old.Bore)
	l.Revision, l.unknown = old.Revision, old.unknown
	l.History, l.HistoryDropped = slices.Concat(old.History, l.History), old.HistoryDropped
	return l.bounded()
}

// dated sets the agreed date, with its number. What kept the instance beyond the date before no longer matters.
func (l Lease) dated(to time.Time, number int64) Lease {
	l.ExpiresAt, l.ExpiresNumber, l.KeptSince, l.KeptReason, l.AbsentSince = to, number, time.Time{}, "", time.Time{}
	return l
}

// numberAfter is the number after both, or the last one there is.
func numberAfter(a, b int64) int64 { return min(max(a, b)+1, MaxNumber) }

// LeasedTag is the value of the tag [TagLeased] of what belongs to the lease: the client token of the attempt, or the
// instance id if it was adopted, whose volumes and interfaces get none.
func (l Lease) LeasedTag() string {
	if l.ClientToken != "" {
		return l.ClientToken
	}
	return l.InstanceID
}

// Leased reports whether the instance bears the tag [TagLeased] with a value that is its own: a leader saw an active
// lease of it. Empty, as at creation, and any other value, as of copied tags, count for nothing.
func (i Instance) Leased() bool {
	value := i.Tags[TagLeased]
	own := value == i.ClientToken && value == i.Tags[TagLaunch] || i.KeyName == KeyName(i.Tags[TagRegistry], value)
	return value != "" && (value == i.ID || own)
}

// Leased reports whether the leftover bears the tag [TagLeased] with the client token of its attempt: it is no leftover
// of a failed creation, for a leader saw an active lease of its instance.
func (x Leftover) Leased() bool {
	value := x.Tags[TagLeased]
	return value != "" && value == x.Tags[TagLaunch]
}
