package lease

import (
	"strconv"
	"strings"
	"time"
)

// Expiry is the agreed date of a lease with its number. It stands in two places with different failure domains: the
// record, and the tag [TagExpires] on the instance. The higher number is the newer word; of equal numbers, the later
// date. A termination for a date needs both passed.
type Expiry struct {
	At     time.Time // whole seconds; zero: none
	Number int64     // counts the lease's dates from 1; 0: the tag has no valid date
}

// Bounds of the number of a date.
const (
	MaxNumber = 1_000_000_000 // of a record
	// MaxTagNumber is what a tag may say. It is lower, so that no tag leaves a record without a number to go on with.
	MaxTagNumber = MaxNumber - 1_000_000
)

const (
	expiryLayout = "2006-01-02T15:04:05Z"
	expiryNone   = "none"
)

// ParseExpiry reads the value of the tag [TagExpires]: "2026-12-01T18:00:00Z 7" or "none 7"; without a number, as at
// creation, it is number 1. Anything else, and a number over [MaxTagNumber], is number 0, which has never passed.
func ParseExpiry(value string) Expiry {
	word, digits, numbered := strings.Cut(value, " ")
	e := Expiry{Number: 1}
	if numbered {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 1 || n > MaxTagNumber || strconv.FormatInt(n, 10) != digits {
			return Expiry{}
		}
		e.Number = n
	}
	if word == expiryNone {
		return e
	}
	at, err := time.Parse(expiryLayout, word)
	if err != nil || at.IsZero() || at.Format(expiryLayout) != word { // time.Parse takes fractions of a second, too
		return Expiry{}
	}
	e.At = at
	return e
}

// String is the value of the tag: in UTC, in seconds rounded down, without the number if that is 1. It is empty if the
// number is 0.
func (e Expiry) String() string {
	if e.Number < 1 {
		return ""
	}
	text := expiryNone
	if !e.At.IsZero() {
		text = e.At.UTC().Format(expiryLayout)
	}
	if e.Number > 1 {
		text += " " + strconv.FormatInt(e.Number, 10)
	}
	return text
}

// Newer reports whether e is the newer word: the higher number, or of equal numbers the later date.
func (e Expiry) Newer(than Expiry) bool {
	return e.Number > than.Number || e.Number == than.Number && later(e.At, than.At)
}

// Passed reports whether the date has passed at now, with grace added. A tag without a date never passes, nor does one
// without a valid date.
func (e Expiry) Passed(now time.Time, grace time.Duration) bool {
	return e.Number > 0 && !e.At.IsZero() && !now.Before(e.At.Add(grace))
}

// later reports whether date a is later than b; zero is none, and later than every date.
func later(a, b time.Time) bool { return !b.IsZero() && (a.IsZero() || a.After(b)) }

// Expiry is the agreed date in the record, as the tag should say it.
func (l Lease) Expiry() Expiry {
	return Expiry{At: l.ExpiresAt.Truncate(time.Second), Number: l.ExpiresNumber}
}

// Expiry is the agreed date on the instance's tag.
func (i Instance) Expiry() Expiry { return ParseExpiry(i.Tags[TagExpires]) }

// KeyState says how record and tag, the two keys of a lease's date, stand to each other.
type KeyState string

// States of the two keys.
const (
	KeysAgree KeyState = "agree"
	// TagBehind: the record is newer. The leader writes [Keys.Write] over the tag of an active lease.
	TagBehind KeyState = "tag-behind"
	// RecordBehind: the registry was set back, or somebody edited the tag. The record terminates nothing, whatever its cause;
	// the leader raises it ([Lease.Raise]) if it is active, and notes the tag's number ([Lease.NoteTag]) if it is revoked.
	RecordBehind KeyState = "record-behind"
	// RecordEarlier: the record is newer and its date earlier, yet no person has shortened it since the tag was written.
	// The leader raises it ([Lease.Raise]).
	RecordEarlier KeyState = "record-earlier"
	// TagSpent: the record's number is over what a tag may say, so the tag never passes again. `lease revoke` is the way out.
	TagSpent KeyState = "tag-spent"
)

// Keys is what [Compare] says.
type Keys struct {
	State KeyState
	Write Expiry // what the tag should say, if it is behind; zero otherwise
	// Earlier reports that Write takes time away that the tag promises: never while a brake says that the registry may
	// have been set back.
	Earlier bool
}

// Compare says how the record of a lease and the tag of its instance stand to each other, and what makes them agree. It
// uses nothing else: whether the instance is this registry's and the lease active is for the caller to see.
func Compare(l Lease, tag Expiry) Keys {
	record := l.Expiry()
	earlier := tag.Number > 0 && later(tag.At, record.At)
	switch {
	case tag.Number > 0 && tag.Newer(record):
		return Keys{State: RecordBehind}
	case !record.Newer(tag):
		return Keys{State: KeysAgree}
	case record.Number > MaxTagNumber:
		return Keys{State: TagSpent}
	case earlier && l.ShortenedAt <= tag.Number:
		return Keys{State: RecordEarlier}
	}
	return Keys{State: TagBehind, Write: record, Earlier: earlier}
}
