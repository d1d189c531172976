package lease

import "time"

// Extension is a request to move the expiry, the maximum expiry, or both.
type Extension struct {
	Until        time.Time // the expiry asked for; zero: only the maximum expiry moves
	Strict       bool      // refuse rather than clamp to the maximum expiry
	AllowShorten bool      // permit an earlier expiry than the present one
	AtLeast      bool      // an earlier expiry than the present one changes no date, but still cures a mark
	MoveMax      bool      // an operator moves the maximum expiry, before the expiry is moved
	MaxExpiresAt time.Time // to this; zero: none
}

// Extend moves the expiry of an active lease, and cures a mark. An expiry past MaxExpiresAt is clamped to it. It is refused
// with a [ClampedError] if the request is strict, or if MaxExpiresAt itself has passed: a lease that cannot be extended any
// further keeps its mark. The granted expiry is the result's ExpiresAt. Asking again for the present expiry changes nothing,
// unless there is a mark to cure. Moving MaxExpiresAt alone cures no mark, because the expiry stays.
//
// Errors: [StateError], [PastError], [LimitError], [ClampedError], [ShortenError], [MaxTermError], [NumberError].
func (l Lease) Extend(now time.Time, e Extension, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("extend")
	}
	extended, err := l, error(nil)
	if e.MoveMax {
		extended, err = l.limited(now, recorded(e.MaxExpiresAt), by)
	}
	if err == nil && !e.Until.IsZero() {
		extended, err = extended.extend(now, e, by)
	}
	if limit := extended.MaxExpiresAt; err == nil && e.MoveMax && !limit.IsZero() && later(extended.ExpiresAt, limit) {
		err = &MaxTermError{ID: l.InstanceID, Asked: limit, ExpiresAt: extended.ExpiresAt}
	}
	if err != nil {
		return l, err
	}
	return extended, nil
}

// limited moves MaxExpiresAt.
func (l Lease) limited(now, to time.Time, by By) (Lease, error) {
	if to.Equal(l.MaxExpiresAt) {
		return l, nil
	}
	if !to.IsZero() && !to.After(now) {
		return l, &PastError{Time: to, Now: now}
	}
	if err := CheckDate(to); err != nil {
		return l, err
	}
	from := l.MaxExpiresAt
	l = l.changed(now, ActionMaxTerm, by)
	l.History[len(l.History)-1].From, l.History[len(l.History)-1].To = from, to
	l.MaxExpiresAt = to
	return l, nil
}

// extend moves the expiry.
func (l Lease) extend(now time.Time, e Extension, by By) (Lease, error) {
	until := recorded(e.Until)
	if !until.After(now) {
		return l, &PastError{Time: until, Now: now}
	}
	if err := CheckDate(until); err != nil {
		return l, err
	}
	if !l.MaxExpiresAt.IsZero() && until.After(l.MaxExpiresAt) {
		if over := !l.MaxExpiresAt.After(now); over || e.Strict {
			return l, &ClampedError{ID: l.InstanceID, Asked: until, MaxExpiresAt: l.MaxExpiresAt, Over: over}
		}
		until = l.MaxExpiresAt
	}
	shorter := l.ExpiresAt.IsZero() || until.Before(l.ExpiresAt)
	action := ActionExtend
	switch {
	case shorter && e.AllowShorten:
		action = ActionShorten
	case shorter && e.AtLeast:
		until = l.ExpiresAt
	case shorter:
		return l, &ShortenError{ID: l.InstanceID, Asked: until, ExpiresAt: l.ExpiresAt}
	}
	if until.Equal(l.ExpiresAt) && l.Mark == nil {
		return l, nil
	}
	return l.moved(now, until, action, by)
}

// moved moves the expiry of l, or only cures its mark if until is the present expiry.
func (l Lease) moved(now, until time.Time, action Action, by By) (Lease, error) {
	number, moves := l.ExpiresNumber+1, !until.Equal(l.ExpiresAt)
	if moves && number > MaxNumber {
		return l, &NumberError{ID: l.InstanceID, Number: l.ExpiresNumber}
	}
	from := l.ExpiresAt
	l = l.changed(now, action, by)
	l.History[len(l.History)-1].From, l.History[len(l.History)-1].To = from, until
	l.Mark, l.CuredAt = nil, recorded(now)
	if moves {
		l = l.dated(until, number)
	}
	if moves && action == ActionShorten {
		l.ShortenedAt = number
	}
	return l, nil
}

// Unmark removes a mark and restarts the heartbeat timeout. For a lease without a mark it only does the latter.
func (l Lease) Unmark(now time.Time, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("unmark")
	}
	l = l.changed(now, ActionUnmark, by)
	l.Mark, l.CuredAt = nil, recorded(now)
	return l, nil
}

// WithMark gives notice of a revocation after deadline. A mark of the same cause is kept as it is, so that its deadline
// never moves forward or back by being found again.
func (l Lease) WithMark(now time.Time, cause Cause, deadline time.Time, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("mark")
	}
	if l.Mark != nil && l.Mark.Cause == cause {
		return l, nil
	}
	l = l.changed(now, ActionMark, by)
	l.Mark = &Mark{Cause: cause, Since: recorded(now), Deadline: recorded(deadline)}
	return l, nil
}

// WithoutMark removes a mark because its cause is gone.
func (l Lease) WithoutMark(now time.Time, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("unmark")
	}
	if l.Mark == nil {
		return l, nil
	}
	l = l.changed(now, ActionUnmark, by)
	l.Mark = nil
	return l, nil
}

// Claimed notes that a sidecar was first seen to renew this lease.
func (l Lease) Claimed(now time.Time, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("claim")
	}
	if !l.ClaimedAt.IsZero() {
		return l, nil
	}
	l = l.changed(now, ActionClaim, by)
	l.ClaimedAt = recorded(now)
	return l, nil
}

// Contest notes that more than one claims to be the instance: its heartbeat is no evidence from here on, and its expiry stays in
// force.
func (l Lease) Contest(now time.Time, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("contest")
	}
	if !l.ContestedAt.IsZero() {
		return l, nil
	}
	l = l.changed(now, ActionContest, by)
	l.ContestedAt = recorded(now)
	return l, nil
}

// Vouch notes that the instance was proved to run although it cannot renew: its missing heartbeat is no evidence until it can.
func (l Lease) Vouch(now time.Time, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("vouch for")
	}
	if !l.VouchedAt.IsZero() {
		return l, nil
	}
	l = l.changed(now, ActionVouch, by)
	l.VouchedAt = recorded(now)
	return l, nil
}

// Settled notes that the instance is contested no more, and renews by itself.
func (l Lease) Settled(now time.Time, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("settle")
	}
	if l.ContestedAt.IsZero() && l.VouchedAt.IsZero() {
		return l, nil
	}
	l = l.changed(now, ActionSettle, by)
	l.ContestedAt, l.VouchedAt, l.CuredAt = time.Time{}, time.Time{}, recorded(now)
	return l, nil
}

// Revoke takes the lease away for good: no renewal or extension is accepted from here on. Release, operator's revoke
// and the janitor's decision differ only in cause. A lease already revoked or ended is refused with a [StateError].
func (l Lease) Revoke(now time.Time, cause Cause, by By) (Lease, error) {
	if l.State != StateActive {
		return l, l.refuse("revoke")
	}
	l = l.changed(now, ActionRevoke, by)
	l.State, l.Cause, l.RevokedAt = StateRevoked, cause, recorded(now)
	if cause == CauseRevoke {
		l.ExpiresNumber = numberAfter(l.ExpiresNumber, l.TagNumber)
	}
	return l, nil
}

// Try authorises one more attempt to terminate the instance of a revoked lease. It is written before the call, so that
// whoever makes the call still has the registry's word for it.
func (l Lease) Try(now time.Time) (Lease, error) {
	if l.State != StateRevoked {
		return l, l.refuse("terminate")
	}
	l = l.copied()
	l.Tries = min(l.Tries+1, maxTries)
	l.TriedAt = recorded(now)
	l.AbsentSince = time.Time{}
	return l, nil
}

// StuckBecause notes what forbids the end: the kind of it, EC2's error code where EC2 refuses, and a reason for people. An
// empty reason takes the note back.
func (l Lease) StuckBecause(now time.Time, why KeptReason, code, reason string, by By) (Lease, error) {
	if l.State != StateRevoked {
		return l, l.refuse("note as stuck")
	}
	if l.Stuck == reason {
		return l, nil
	}
	by.Reason = reason
	l = l.changed(now, ActionStuck, by)
	l.Stuck, l.StuckCode, l.KeptReason = reason, code, why
	if reason == "" {
		l.StuckCode, l.KeptReason = "", ""
	}
	return l, nil
}

// Absent notes the first look-up by id, in the verified account, that found nothing. It notes it again if the noted date is in
// the future. It ends nothing by itself. For an active lease it counts only after the expiry, and a new expiry removes it.
func (l Lease) Absent(now time.Time) (Lease, error) {
	if l.State != StateRevoked && l.State != StateActive {
		return l, l.refuse("note as absent")
	}
	if !l.AbsentSince.IsZero() && !l.AbsentSince.After(now) {
		return l, nil
	}
	l = l.copied()
	l.AbsentSince = recorded(now)
	return l, nil
}

// Seen takes back what [Lease.Absent] noted: a look-up found the instance after all.
func (l Lease) Seen() (Lease, error) {
	if l.State != StateRevoked && l.State != StateActive {
		return l, l.refuse("note as seen")
	}
	l.AbsentSince = time.Time{}
	return l, nil
}

// End records that EC2 confirmed the termination. A lease that was not revoked takes the cause given, a revoked one keeps its own.
func (l Lease) End(now time.Time, cause Cause, by By) (Lease, error) {
	if !l.Live() && l.State != StateRevoked {
		return l, l.refuse("end")
	}
	if l.Live() {
		l.Cause, l.Untagged = cause, l.State == StateAdopting
	}
	l = l.changed(now, ActionEnd, by)
	l.State, l.EndedAt, l.Mark, l.Stuck, l.StuckCode = StateEnded, recorded(now), nil, "", ""
	return l, nil
}

// Reopen returns an ended lease, whose instance was seen alive after all, to the state it came from.
func (l Lease) Reopen(now time.Time, by By) (Lease, error) {
	if l.State != StateEnded {
		return l, l.refuse("reopen")
	}
	l = l.changed(now, ActionReopen, by)
	l.EndedAt, l.AbsentSince = time.Time{}, time.Time{}
	if l.RevokedAt.IsZero() {
		l.State, l.Cause = StateActive, ""
	} else {
		l.State = StateRevoked
	}
	if l.Untagged {
		l.State, l.Untagged = StateAdopting, false
	}
	return l, nil
}

// Activate turns an adopted lease active, once its instance was seen to bear the registry's tag.
func (l Lease) Activate(now time.Time, by By) (Lease, error) {
	if l.State != StateAdopting {
		return l, l.refuse("activate")
	}
	l = l.changed(now, ActionActivate, by)
	l.State, l.CuredAt = StateActive, recorded(now)
	return l, nil
}

// Unmanage forgets the instance: Lapse will not terminate it. It is also the way out of a lease that is stuck.
func (l Lease) Unmanage(now time.Time, by By) (Lease, error) {
	if l.State == StateEnded || l.State == StateUnmanaged {
		return l, l.refuse("unmanage")
	}
	l = l.changed(now, ActionUnmanage, by)
	l.State, l.EndedAt, l.Mark, l.Stuck, l.StuckCode = StateUnmanaged, recorded(now), nil, "", ""
	return l, nil
}

// Renewable refuses what only an instance with a live lease may do, as verb says; one that has no lease may.
//
// Errors: [StateError].
func (l Lease) Renewable(verb string) error {
	if l.InstanceID == "" || l.Live() {
		return nil
	}
	return l.refuse(verb)
}

func (l Lease) refuse(verb string) error {
	return &StateError{ID: l.InstanceID, Verb: verb, State: l.State, Cause: l.Cause, Since: l.since()}
}

// since is when the lease came to its present state, as far as the record says.
func (l Lease) since() time.Time {
	switch l.State {
	case StateRevoked:
		return l.RevokedAt
	case StateEnded, StateUnmanaged:
		return l.EndedAt
	case StateActive, StateAdopting:
	}
	return l.GrantedAt
}
