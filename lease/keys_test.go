package lease_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// numbered is the lease of i-1 until 24 h after noon, with this number.
func numbered(number, shortened int64) lease.Lease {
	l := held()
	l.ExpiresNumber, l.ShortenedAt = number, shortened
	return l
}

func TestChangesThatTakeTheNextNumber(t *testing.T) {
	t.Parallel()
	extended := func(d time.Duration, short bool) func(lease.Lease) (lease.Lease, error) {
		return func(l lease.Lease) (lease.Lease, error) {
			return l.Extend(at(time.Hour), lease.Extension{Until: at(d), AllowShorten: short, AtLeast: true}, ada)
		}
	}
	revoke := func(c lease.Cause) func(lease.Lease) (lease.Lease, error) {
		return func(l lease.Lease) (lease.Lease, error) { return l.Revoke(at(time.Hour), c, ada) }
	}
	for name, c := range map[string]struct {
		do                func(lease.Lease) (lease.Lease, error)
		number, shortened int64
	}{
		"an extension":                      {extended(48*time.Hour, false), 8, 3},
		"a shortening":                      {extended(12*time.Hour, true), 8, 8},
		"an extension to the same date":     {extended(24*time.Hour, true), 7, 3},
		"an extension to no more than is":   {extended(12*time.Hour, false), 7, 3},
		"an operator's revocation":          {revoke(lease.CauseRevoke), 8, 3},
		"a release":                         {revoke(lease.CauseRelease), 7, 3},
		"a revocation for the date":         {revoke(lease.CauseExpired), 7, 3},
		"a revocation for a lost heartbeat": {revoke(lease.CauseHeartbeatLost), 7, 3},
		"a unmark":                          {func(l lease.Lease) (lease.Lease, error) { return l.Unmark(noon, ada) }, 7, 3},
		"a mark":                            {func(l lease.Lease) (lease.Lease, error) { return l.WithMark(noon, lease.CauseExpired, noon, jan) }, 7, 3},
		"a claim":                           {func(l lease.Lease) (lease.Lease, error) { return l.Claimed(noon, jan) }, 7, 3},
		"an end":                            {func(l lease.Lease) (lease.Lease, error) { return l.End(noon, lease.CauseGone, jan) }, 7, 3},
		"being kept":                        {func(l lease.Lease) (lease.Lease, error) { return l.Keep(noon, lease.KeptByExempt, jan) }, 7, 3},
	} {
		l := must(c.do(numbered(7, 3)))
		if l.ExpiresNumber != c.number || l.ShortenedAt != c.shortened {
			t.Errorf("%s: number %d, shortened at %d; want %d and %d", name, l.ExpiresNumber, l.ShortenedAt, c.number, c.shortened)
		}
	}
}

func TestTheFirstDateIsNumberOne(t *testing.T) {
	t.Parallel()
	l := launched()
	closed := must(l.Close(at(time.Hour), "window over"))
	for name, first := range map[string]lease.Lease{
		"bound": held(), "of a failed creation": closed.Orphan(at(time.Hour), instance(), l.Last(), jan),
	} {
		if first.ExpiresNumber != 1 || first.ShortenedAt != 0 || !first.ExpiresAt.Equal(at(24*time.Hour)) {
			t.Errorf("%s: until %s, number %d, shortened at %d", name, first.ExpiresAt, first.ExpiresNumber, first.ShortenedAt)
		}
	}
}

func TestAnAdoptionIsNumberedAboveTagAndRecord(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int64{"": 1, "malformed 7": 1, "2026-12-01T18:00:00Z 7": 8, "none 999000000": 999000001} {
		i := instance()
		i.Tags[lease.TagExpires] = tag
		l := lease.Adopt(noon, i, at(time.Hour), time.Time{}, "ada", nil, ada)
		if l.ExpiresNumber != want || l.ShortenedAt != want {
			t.Errorf("over %q: number %d, shortened at %d, want %d", tag, l.ExpiresNumber, l.ShortenedAt, want)
		}
		if keys := lease.Compare(l, i.Expiry()); want < lease.MaxTagNumber && keys.State != lease.TagBehind {
			t.Errorf("over %q: %+v", tag, keys)
		}
	}
	old := must(numbered(11, 0).Unmanage(noon, ada))
	old.Revision = 77
	l := lease.Adopt(noon, instance(), at(time.Hour), time.Time{}, "ada", nil, ada).Succeeding(old)
	if l.ExpiresNumber != 12 || l.ShortenedAt != 12 || l.Revision != 77 || l.Changes <= old.Changes {
		t.Errorf("in place of number 11: %s", text(t, l))
	}
	bare := instance() // unmanaging takes its tags
	delete(bare.Tags, lease.TagLaunch)
	old.ClientToken = "web.1"
	l = lease.Adopt(noon, bare, at(time.Hour), time.Time{}, "ada", nil, ada).Succeeding(old)
	if again := lease.Adopt(noon, bare, at(time.Hour), time.Time{}, "ada", nil, ada).Succeeding(l); l.Bore != "web.1" || again.Bore != "web.1" {
		t.Errorf("launch that made it: %q, and %q the next time", l.Bore, again.Bore)
	}
	newer, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(strings.Replace(text(t, old), "{", `{"next_release":true,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, l.Succeeding(newer)); !strings.Contains(got, `"next_release":true`) {
		t.Errorf("lost what a newer release had noted: %s", got)
	}
}

func TestTheMaximumNumberIsNotExceeded(t *testing.T) {
	t.Parallel()
	l := numbered(lease.MaxNumber, 0)
	got, err := l.Extend(noon, lease.Extension{Until: at(48 * time.Hour)}, ada)
	var number *lease.NumberError
	if !errors.As(err, &number) || *number != (lease.NumberError{ID: "i-1", Number: lease.MaxNumber}) || !same(got, l) {
		t.Errorf("extended to %s (%v)", text(t, got), err)
	}
	if same, err := l.Extend(noon, lease.Extension{Until: at(24 * time.Hour)}, ada); err != nil || same.ExpiresNumber != lease.MaxNumber {
		t.Errorf("asked for the present date: %v", err)
	}
	for name, l := range map[string]lease.Lease{
		"revoked": must(l.Revoke(noon, lease.CauseRevoke, ada)),
		"raised":  must(l.Raise(noon, on(48*time.Hour, 7), jan)),
		"adopted": lease.Adopt(noon, instance(), at(time.Hour), time.Time{}, "", nil, ada).Succeeding(l),
	} {
		if _, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(text(t, l))); err != nil || l.ExpiresNumber != lease.MaxNumber {
			t.Errorf("%s: number %d, stored with %v", name, l.ExpiresNumber, err)
		}
	}
}

// The record is numbered 5 and ends 24 h after noon, a week at most.
func TestARecordIsRaisedToItsTag(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	for name, c := range map[string]struct {
		tag    lease.Expiry
		until  time.Time
		most   time.Time
		number int64
	}{
		"to a later date":                 {on(48*h, 7), at(48 * h), at(168 * h), 8},
		"to a later date of its number":   {on(48*h, 5), at(48 * h), at(168 * h), 6},
		"to a later date of a lower one":  {on(48*h, 4), at(48 * h), at(168 * h), 6},
		"past its maximum":                {on(200*h, 7), at(200 * h), at(200 * h), 8},
		"to none":                         {lease.Expiry{Number: 7}, time.Time{}, time.Time{}, 8},
		"its own date is later":           {on(h, 7), at(24 * h), at(168 * h), 8},
		"its own date is the same":        {on(24*h, 7), at(24 * h), at(168 * h), 8},
		"not: it is the newer, and later": {on(h, 4), at(24 * h), at(168 * h), 5},
		"not: they agree":                 {on(24*h, 5), at(24 * h), at(168 * h), 5},
		"not: the tag says nothing":       {lease.Expiry{}, at(24 * h), at(168 * h), 5},
	} {
		old := numbered(5, 0)
		l := must(old.Raise(at(h), c.tag, jan))
		if !l.ExpiresAt.Equal(c.until) || !l.MaxExpiresAt.Equal(c.most) || l.ExpiresNumber != c.number || l.ShortenedAt != 0 {
			t.Errorf("%s: until %s, %s at most, number %d", name, l.ExpiresAt, l.MaxExpiresAt, l.ExpiresNumber)
		}
		last := l.History[len(l.History)-1]
		moved := !l.ExpiresAt.Equal(old.ExpiresAt)
		if raised := c.number != 5; raised != (l.Changes == old.Changes+1 && last.Action == "raise") || moved && (!last.From.Equal(at(24*h)) || !last.To.Equal(c.until)) {
			t.Errorf("%s: history ends with %+v", name, last)
		}
		if keys := lease.Compare(l, c.tag); keys.State != lease.KeysAgree && keys.State != lease.TagBehind || keys.Earlier {
			t.Errorf("%s: then %+v", name, keys)
		}
	}
}

func TestARaisedDateCancelsAMarkAndANumberDoesNot(t *testing.T) {
	t.Parallel()
	l := must(must(marked().Keep(at(time.Hour), lease.KeptByTag, jan)).Raise(at(90*time.Minute), on(time.Hour, 7), jan))
	if l.Mark == nil || l.KeptSince.IsZero() {
		t.Errorf("raised by number alone: mark %v, kept since %s", l.Mark, l.KeptSince)
	}
	l = must(l.Raise(at(2*time.Hour), on(48*time.Hour, 9), jan))
	if l.Mark != nil || !l.CuredAt.Equal(at(2*time.Hour)) || !l.KeptSince.IsZero() || l.KeptReason != "" {
		t.Errorf("raised to a later date: %s", text(t, l))
	}
}

func TestKeptSinceStaysUntilTheDateMoves(t *testing.T) {
	t.Parallel()
	l := must(held().Keep(at(25*time.Hour), lease.KeptByTag, jan))
	if again := must(l.Keep(at(26*time.Hour), lease.KeptByTag, jan)); !same(again, l) {
		t.Errorf("kept again as %s", text(t, again))
	}
	l = must(l.Keep(at(26*time.Hour), lease.KeptByExempt, jan))
	if !l.KeptSince.Equal(at(25*time.Hour)) || l.KeptReason != lease.KeptByExempt {
		t.Errorf("kept for another reason: %s since %s", l.KeptReason, l.KeptSince)
	}
	l = must(l.WithMark(at(27*time.Hour), lease.CauseExpired, at(28*time.Hour), jan))
	if l = must(l.Extend(at(27*time.Hour), lease.Extension{Until: at(20 * time.Hour).Add(8 * time.Hour), AtLeast: true}, ada)); !l.KeptSince.IsZero() || l.Mark != nil {
		t.Errorf("extended: %s", text(t, l))
	}
	l = must(must(held().Keep(at(time.Hour), lease.KeptByTag, jan)).WithMark(at(time.Hour), lease.CauseExpired, at(2*time.Hour), jan))
	if l = must(l.Extend(at(time.Hour), lease.Extension{Until: at(2 * time.Hour), AtLeast: true}, ada)); l.KeptSince.IsZero() || l.Mark != nil {
		t.Errorf("extended by nothing: %s", text(t, l))
	}
}

func TestAnOperatorsRevocationOutnumbersANewerTag(t *testing.T) {
	t.Parallel()
	l := must(numbered(5, 0).Revoke(at(time.Hour), lease.CauseRelease, ada))
	if l.AwaitsOperator() {
		t.Error("a released lease awaits an operator")
	}
	tag := on(48*time.Hour, 9)
	l = must(l.NoteTag(at(2*time.Hour), tag, jan))
	if again := must(l.NoteTag(at(3*time.Hour), tag, jan)); l.TagNumber != 9 || !same(again, l) || !l.AwaitsOperator() {
		t.Errorf("noted %d, and again %s", l.TagNumber, text(t, again))
	}
	if older := must(l.NoteTag(at(3*time.Hour), on(time.Hour, 4), jan)); !same(older, l) {
		t.Errorf("an older tag was noted: %s", text(t, older))
	}
	l = must(l.RevokeAgain(at(4*time.Hour), ada))
	if l.ExpiresNumber != 10 || l.TagNumber != 0 || l.Cause != lease.CauseRevoke || !l.RevokedAt.Equal(at(time.Hour)) || l.AwaitsOperator() {
		t.Errorf("revoked again as %s", text(t, l))
	}
	if keys := lease.Compare(l, tag); keys.State == lease.RecordBehind {
		t.Errorf("then %+v", keys)
	}
	failed := launched()
	orphan := must(failed.Close(noon, "over")).Orphan(noon, instance(), failed.Last(), jan)
	orphan = must(must(orphan.NoteTag(noon, tag, jan)).RevokeAgain(noon, ada))
	if orphan.WasActive() {
		t.Error("an operator's word makes a failed creation's lease one that was active")
	}
}

// A model of set-backs: whatever is lost and however people and leaders go on, a record that a leader made agree with its
// tag never ends before a date that any tag promised, unless a person has shortened it since.
func TestNoRollbackShortensTheDateOfATag(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l, tag := held(), held().Expiry()
		backup, now := l, noon
		floor := tag.At // the latest date that people were promised and a tag has said
		for range rapid.IntRange(10, 40).Draw(t, "steps") {
			now = now.Add(time.Minute)
			switch rapid.SampledFrom([]string{"extend", "extend", "sync", "sync", "restore", "back up", "shorten"}).Draw(t, "step") {
			case "extend": // many short ones outnumber a long one that was lost
				by := rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Hour}).Draw(t, "by")
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					if until := l.ExpiresAt.Add(by); until.Before(l.MaxExpiresAt) {
						l = must(l.Extend(now, lease.Extension{Until: until}, ada))
					}
				}
			case "shorten":
				if until := l.ExpiresAt.Add(-time.Hour); until.After(now) && lease.Compare(l, tag).State != lease.RecordBehind {
					l = must(l.Extend(now, lease.Extension{Until: until, AllowShorten: true}, ada))
					if floor.After(until) && l.ExpiresNumber > tag.Number {
						floor = until // said by a person who saw the newest word
					}
				}
			case "sync":
				l = must(l.Raise(now, tag, jan))
				if keys := lease.Compare(l, tag); keys.State == lease.TagBehind {
					tag = keys.Write
					if tag.At.After(floor) {
						floor = tag.At
					}
				}
				if l.Expiry() != tag || l.ExpiresAt.Before(floor) {
					t.Fatalf("record %+v, tag %+v, promised %s", l.Expiry(), tag, floor)
				}
			case "back up":
				backup = l
			case "restore":
				l = backup
			}
		}
	})
}

func TestTheLeasedTagHasItsOwnValue(t *testing.T) {
	t.Parallel()
	if got := held().LeasedTag(); got != token+".1" {
		t.Errorf("launched: %q", got)
	}
	if got := adopting().LeasedTag(); got != "i-1" {
		t.Errorf("adopted: %q", got)
	}
	for value, want := range map[string][2]bool{
		token + ".1": {true, true}, "i-1": {true, false}, "": {}, token + ".2": {}, "i-2": {}, token: {}, "yes": {},
	} {
		i := instance()
		i.Tags[lease.TagLeased] = value
		volume := lease.Leftover{Kind: lease.LeftoverVolume, ID: "vol-1", InstanceID: "i-1", Tags: i.Tags}
		if got := [2]bool{i.Leased(), volume.Leased()}; got != want {
			t.Errorf("%q: instance and volume %v, want %v", value, got, want)
		}
	}
	copied := instance() // tags and all, by "Launch more like this"
	copied.ID, copied.ClientToken, copied.Tags[lease.TagLeased] = "i-2", "theirs", token+".1"
	if copied.Leased() {
		t.Error("copied tags count")
	}
	if bare := instance(); bare.Leased() || (lease.Leftover{}).Leased() || (lease.Instance{}).Leased() {
		t.Error("no tag counts")
	}
}
