package lease

import "time"

// ExtendRequest asks, from inside an instance, to move the expiry of its own lease. Exactly one of For, By and Until is set.
type ExtendRequest struct {
	For    Duration  `json:"for,omitzero"`   // from now
	By     Duration  `json:"by,omitzero"`    // added to the present expiry
	Until  time.Time `json:"until,omitzero"` // that date
	Strict bool      `json:"strict,omitzero"`
	Reason string    `json:"reason,omitzero"` // for the lease's history
	// Within is how far from now it may be extended at most, whatever the lease itself allows; zero: as far as that.
	Within Duration `json:"within,omitzero"`
}

// Extended is what became of an [ExtendRequest].
type Extended struct {
	Asked   time.Time `json:"asked"`   // the request as a date
	Before  time.Time `json:"before"`  // the expiry before
	Granted time.Time `json:"granted"` // the expiry now
	Clamped bool      `json:"clamped"` // less was granted than asked for
	Lease   Lease     `json:"lease"`
	// What is doubtful about the clock of whoever granted it; absent up to 3 min. See [Reckoning].
	ClockBehind Duration `json:"clock_behind,omitzero"`
	SweepLate   Duration `json:"sweep_late,omitzero"`
}

// Check refuses a request that says nothing, or two things.
//
// Errors: [LimitError].
func (r ExtendRequest) Check() error {
	given := 0
	for _, set := range []bool{r.For != 0, r.By != 0, !r.Until.IsZero()} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return &LimitError{What: "extension", Why: `must have exactly one of "for", "by" and "until"`}
	case r.For < 0 || r.By < 0:
		return &LimitError{What: "extension " + (r.For + r.By).String(), Why: "must not be negative"}
	case r.Within < 0:
		return &LimitError{What: "within " + r.Within.String(), Why: "must not be negative"}
	}
	return CheckReason(r.Reason)
}

// Date makes a date of the request, to the millisecond as records keep it, so that a repetition asks for the same.
func (r ExtendRequest) Date(l Lease, now time.Time) time.Time {
	switch {
	case !r.Until.IsZero():
		now = r.Until
	case r.By != 0 && !l.ExpiresAt.IsZero():
		now = l.ExpiresAt.Add(time.Duration(r.By))
	default: // without a term "by" is refused all the same, as there is none to extend
		now = now.Add(time.Duration(r.For + r.By))
	}
	return now.UTC().Round(0).Truncate(time.Millisecond)
}

// ExtendSelf is [Lease.Extend] to the date of a request, as far as the lease lets its own instance extend it.
//
// Errors: those of [Lease.Extend]; [ClampedError] if the request is strict and less is allowed.
func (l Lease) ExtendSelf(now, until time.Time, r ExtendRequest, by By) (Lease, error) {
	if !l.Live() {
		return l, l.refuse("extend")
	}
	granted := until
	if limit := l.selfLimit(now, r.Within); !limit.IsZero() && until.After(limit) {
		if r.Strict {
			return l, &ClampedError{ID: l.InstanceID, Asked: until, MaxExpiresAt: limit, Alone: true}
		}
		granted = limit
	}
	return l.Extend(now, Extension{Until: granted, Strict: r.Strict, AtLeast: r.For > 0}, by)
}

// selfLimit is how far an instance may extend its own lease, never before the present expiry; zero: without a limit.
func (l Lease) selfLimit(now time.Time, within Duration) time.Time {
	if l.SelfExtend != nil && (within == 0 || *l.SelfExtend < within) {
		within = *l.SelfExtend
	} else if within == 0 {
		return time.Time{}
	}
	limit := now.Add(time.Duration(within))
	if limit.Before(l.ExpiresAt) {
		return l.ExpiresAt
	}
	return recorded(limit)
}
