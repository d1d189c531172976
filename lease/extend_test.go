package lease_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

func TestExtend(t *testing.T) {
	t.Parallel()
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	noTerm, noLimit, lastDay := held(), held(), held()
	noTerm.ExpiresAt = time.Time{}
	noLimit.MaxExpiresAt = time.Time{}
	lastDay.ExpiresAt = lastDay.MaxExpiresAt
	for name, c := range map[string]struct {
		l      lease.Lease
		now    time.Duration
		ask    lease.Extension
		want   time.Duration // the granted term
		refuse error
	}{
		"grants what is asked": {held(), 0, lease.Extension{Until: at(2 * day)}, 2 * day, nil},
		"grants exactly the maximum, even strictly": {
			held(), 0, lease.Extension{Until: at(week), Strict: true}, week, nil,
		},
		"clamps to the maximum": {held(), 0, lease.Extension{Until: at(week + time.Hour)}, week, nil},
		"refuses past the maximum if strict": {
			held(), 0,
			lease.Extension{Until: at(week + time.Hour), Strict: true},
			0,
			&lease.ClampedError{ID: "i-1", Asked: at(week + time.Hour), MaxExpiresAt: at(week)},
		},
		"refuses to clamp to a date that has passed": {
			lastDay, week + time.Minute,
			lease.Extension{Until: at(week + time.Hour), AllowShorten: true},
			0,
			&lease.ClampedError{ID: "i-1", Asked: at(week + time.Hour), MaxExpiresAt: at(week), Over: true},
		},
		"refuses to clamp to the present instant": {
			lastDay, week,
			lease.Extension{Until: at(week + time.Hour)},
			0,
			&lease.ClampedError{ID: "i-1", Asked: at(week + time.Hour), MaxExpiresAt: at(week), Over: true},
		},
		"has no limit where there is no maximum": {
			noLimit, 0, lease.Extension{Until: at(100 * week), Strict: true}, 100 * week, nil,
		},
		"refuses a date that no record can hold": {
			noLimit, 0,
			lease.Extension{Until: time.Date(9999, 12, 31, 23, 59, 0, 0, time.FixedZone("west", -3600))},
			0,
			&lease.LimitError{What: "date in the year 10000", Why: "must be within the years 0 to 9999"},
		},
		"refuses to shorten": {
			held(), 0,
			lease.Extension{Until: at(time.Hour)},
			0,
			&lease.ShortenError{ID: "i-1", Asked: at(time.Hour), ExpiresAt: at(day)},
		},
		"shortens if that is meant": {held(), 0, lease.Extension{Until: at(time.Hour), AllowShorten: true}, time.Hour, nil},
		"refuses to give an expiry to a lease that has none": {
			noTerm, 0, lease.Extension{Until: at(day)}, 0, &lease.ShortenError{ID: "i-1", Asked: at(day)},
		},
		"gives it an expiry if that is meant": {noTerm, 0, lease.Extension{Until: at(day), AllowShorten: true}, day, nil},
		"refuses a date in the past": {
			held(), 2 * day,
			lease.Extension{Until: at(day), AllowShorten: true},
			0,
			&lease.PastError{Time: at(day), Now: at(2 * day)},
		},
		"refuses the present instant": {
			held(), 2 * day,
			lease.Extension{Until: at(2 * day), AllowShorten: true},
			0,
			&lease.PastError{Time: at(2 * day), Now: at(2 * day)},
		},
		"extends an expired lease that is not revoked": {
			held(), 2 * day, lease.Extension{Until: at(3 * day)}, 3 * day, nil,
		},
		"stores milliseconds of UTC": {
			held(), 0, lease.Extension{Until: at(2*day + 999).In(time.FixedZone("", 7200))}, 2 * day, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := text(t, c.l)
			got, err := c.l.Extend(at(c.now), c.ask, ada)
			if c.refuse != nil {
				if !same(err, c.refuse) || text(t, got) != before {
					t.Errorf("refused with %#v, want %#v; the lease is %s", err, c.refuse, text(t, got))
				}
				return
			}
			if err != nil || !same(got.ExpiresAt, at(c.want)) {
				t.Errorf("granted %s, %v; want %s", got.ExpiresAt, err, at(c.want))
			}
			if !got.CuredAt.Equal(at(c.now)) || got.MaxExpiresAt != c.l.MaxExpiresAt {
				t.Errorf("cured at %s, maximum %s", got.CuredAt, got.MaxExpiresAt)
			}
		})
	}
}

func TestAnOperatorMovesTheMaximum(t *testing.T) {
	t.Parallel()
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	revoked := must(held().Revoke(noon, lease.CauseRevoke, ada))
	noTerm, over := held(), held()
	noTerm.ExpiresAt = time.Time{}
	over.ExpiresAt = over.MaxExpiresAt
	marked := must(over.WithMark(at(week), lease.CauseExpired, at(week+time.Hour), ada))
	for name, c := range map[string]struct {
		l           lease.Lease
		now         time.Duration
		ask         lease.Extension
		term, limit time.Duration // 0: none
		refuse      error
	}{
		"further away":    {held(), 0, lease.Extension{MaxExpiresAt: at(2 * week)}, day, 2 * week, nil},
		"nearer":          {held(), 0, lease.Extension{MaxExpiresAt: at(2 * day)}, day, 2 * day, nil},
		"to the expiry":   {held(), 0, lease.Extension{MaxExpiresAt: at(day)}, day, day, nil},
		"to none":         {held(), 0, lease.Extension{}, day, 0, nil},
		"with the expiry": {held(), 0, lease.Extension{MaxExpiresAt: at(3 * week), Until: at(2 * week), Strict: true}, 2 * week, 3 * week, nil},
		"and clamps the expiry to the new one, not to the old": {
			held(), 0, lease.Extension{MaxExpiresAt: at(3 * day), Until: at(week)}, 3 * day, 3 * day, nil,
		},
		"below an expiry that is shortened with it": {
			held(), 0, lease.Extension{MaxExpiresAt: at(2 * time.Hour), Until: at(time.Hour), AllowShorten: true}, time.Hour, 2 * time.Hour, nil,
		},
		"after it has passed": {over, week + time.Minute, lease.Extension{MaxExpiresAt: at(2 * week), Until: at(8 * day)}, 8 * day, 2 * week, nil},
		"refused below the expiry": {
			held(), 0, lease.Extension{MaxExpiresAt: at(time.Hour)}, 0, 0, &lease.MaxTermError{ID: "i-1", Asked: at(time.Hour), ExpiresAt: at(day)},
		},
		"refused below an expiry that stays": {
			held(), 0,
			lease.Extension{MaxExpiresAt: at(2 * time.Hour), Until: at(time.Hour), AtLeast: true},
			0, 0,
			&lease.MaxTermError{ID: "i-1", Asked: at(2 * time.Hour), ExpiresAt: at(day)},
		},
		"refused where there is no expiry": {noTerm, 0, lease.Extension{MaxExpiresAt: at(week + day)}, 0, 0, &lease.MaxTermError{ID: "i-1", Asked: at(week + day)}},
		"refused in the past": {
			held(), 2 * week, lease.Extension{MaxExpiresAt: at(week + day)}, 0, 0, &lease.PastError{Time: at(week + day), Now: at(2 * week)},
		},
		"refused if the expiry is": {
			held(), 0,
			lease.Extension{MaxExpiresAt: at(2 * week), Until: at(time.Hour)},
			0, 0,
			&lease.ShortenError{ID: "i-1", Asked: at(time.Hour), ExpiresAt: at(day)},
		},
		"refused once revoked": {revoked, 0, lease.Extension{MaxExpiresAt: at(2 * week)}, 0, 0, &lease.StateError{
			ID: "i-1", Verb: "extend", State: lease.StateRevoked, Cause: lease.CauseRevoke, Since: noon,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := text(t, c.l)
			c.ask.MoveMax = true
			got, err := c.l.Extend(at(c.now), c.ask, ada)
			if c.refuse != nil {
				if !same(err, c.refuse) || text(t, got) != before {
					t.Errorf("refused with %#v, want %#v; the lease is %s", err, c.refuse, text(t, got))
				}
				return
			}
			limit := at(c.limit)
			if c.limit == 0 {
				limit = time.Time{}
			}
			if err != nil || !same(got.ExpiresAt, at(c.term)) || !got.MaxExpiresAt.Equal(limit) {
				t.Errorf("%v: %s, at most %s; want %s, at most %s", err, got.ExpiresAt, got.MaxExpiresAt, at(c.term), limit)
			}
			if again, err := got.Extend(at(c.now), lease.Extension{MoveMax: true, MaxExpiresAt: c.ask.MaxExpiresAt}, ada); err != nil || text(t, again) != text(t, got) {
				t.Errorf("again: %v, %s", err, text(t, again))
			}
		})
	}
	got := must(marked.Extend(at(week), lease.Extension{MoveMax: true, MaxExpiresAt: at(2 * week)}, ada))
	if got.Mark == nil || got.ExpiresNumber != marked.ExpiresNumber || got.Changes != marked.Changes+1 {
		t.Errorf("alone, it is no extension: %s", text(t, got))
	}
	if last := got.History[len(got.History)-1]; last.Action != "max-term" || !last.From.Equal(at(week)) || !last.To.Equal(at(2*week)) {
		t.Errorf("history: %+v", last)
	}
}

func TestExtendingToTheCurrentExpiryChangesNothing(t *testing.T) {
	t.Parallel()
	l := held()
	for _, until := range []time.Time{l.ExpiresAt, l.ExpiresAt.In(time.FixedZone("", 3600)), l.ExpiresAt.Add(999)} {
		if again := must(l.Extend(at(time.Hour), lease.Extension{Until: until}, ada)); !same(again, l) {
			t.Errorf("asking for %s changed the lease to %s", until, text(t, again))
		}
	}
}

func TestExtendCancelsAMark(t *testing.T) {
	t.Parallel()
	l := marked()
	for name, until := range map[string]time.Time{"a later expiry": at(48 * time.Hour), "the current expiry": l.ExpiresAt} {
		got := must(l.Extend(at(90*time.Minute), lease.Extension{Until: until}, ada))
		if got.Mark != nil || !got.CuredAt.Equal(at(90*time.Minute)) || got.Changes != l.Changes+1 {
			t.Errorf("%s leaves mark %v, cured at %s", name, got.Mark, got.CuredAt)
		}
	}
}

func TestARefusedExtensionAtTheMaximumKeepsTheMark(t *testing.T) {
	t.Parallel()
	l := must(held().Extend(noon, lease.Extension{Until: held().MaxExpiresAt}, ada))
	now := l.MaxExpiresAt.Add(time.Minute)
	l = must(l.WithMark(now, lease.CauseExpired, now.Add(time.Hour), jan))
	got, err := l.Extend(now, lease.Extension{Until: now.Add(time.Hour)}, ada)
	var clamped *lease.ClampedError
	if !errors.As(err, &clamped) || !clamped.Over || got.Mark == nil {
		t.Errorf("%v, with the mark %v", err, got.Mark)
	}
}

func TestAnExtensionGrantsAFutureDateWithinTheMaximumOrNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		now := drawTime(t, "now")
		ask := lease.Extension{
			Until: drawTime(t, "until"), Strict: rapid.Bool().Draw(t, "strict"), AllowShorten: rapid.Bool().Draw(t, "allow"),
		}
		before := text(t, l)
		got, err := l.Extend(now, ask, ada)
		if err != nil {
			if text(t, got) != before {
				t.Fatalf("refused (%v), and yet changed to %s", err, text(t, got))
			}
			return
		}
		switch {
		case !got.ExpiresAt.After(now):
			t.Fatalf("granted %s at %s", got.ExpiresAt, now)
		case !l.MaxExpiresAt.IsZero() && got.ExpiresAt.After(l.MaxExpiresAt):
			t.Fatalf("granted %s, past %s", got.ExpiresAt, l.MaxExpiresAt)
		case got.ExpiresAt.After(ask.Until):
			t.Fatalf("granted %s, more than %s", got.ExpiresAt, ask.Until)
		case !ask.AllowShorten && got.ExpiresAt.Before(l.ExpiresAt):
			t.Fatalf("shortened %s to %s", l.ExpiresAt, got.ExpiresAt)
		case ask.Strict && ask.Until.Sub(got.ExpiresAt) >= time.Millisecond:
			t.Fatalf("granted %s, strictly asked for %s", got.ExpiresAt, ask.Until)
		case got.Mark != nil:
			t.Fatalf("extended, and still marked %+v", got.Mark)
		case got.State != l.State:
			t.Fatalf("extended from %s to %s", l.State, got.State)
		}
		again, err := got.Extend(now, ask, ada)
		if err != nil || !same(again, got) {
			t.Fatalf("asking twice: %v, %s", err, text(t, again))
		}
	})
}

func TestAnAtLeastExtensionKeepsALaterDateAndCancelsAMark(t *testing.T) {
	t.Parallel()
	l := held()
	least := lease.Extension{Until: at(2 * time.Hour), AtLeast: true}
	got, err := l.Extend(at(time.Hour), least, ada)
	if err != nil || !got.ExpiresAt.Equal(l.ExpiresAt) || got.Changes != l.Changes {
		t.Errorf("extended to %s (%v), changes %d; want %s, unchanged", got.ExpiresAt, err, got.Changes, l.ExpiresAt)
	}
	marked, err := l.WithMark(at(time.Hour), lease.CauseHeartbeatLost, at(3*time.Hour), jan)
	if err != nil {
		t.Fatal(err)
	}
	got, err = marked.Extend(at(time.Hour), least, ada)
	if err != nil || !got.ExpiresAt.Equal(l.ExpiresAt) || got.Mark != nil || !got.CuredAt.Equal(at(time.Hour)) {
		t.Errorf("extended to %s with mark %v (%v); want the mark cured", got.ExpiresAt, got.Mark, err)
	}
}

func TestTheHistoryHasTheOldAndTheNewDate(t *testing.T) {
	t.Parallel()
	for action, e := range map[lease.Action]lease.Extension{
		"extend":  {Until: at(48 * time.Hour)},
		"shorten": {Until: at(2 * time.Hour), AllowShorten: true},
	} {
		l, err := held().Extend(at(time.Hour), e, ada)
		if err != nil {
			t.Fatal(err)
		}
		last := l.History[len(l.History)-1]
		if last.Action != action || !last.From.Equal(held().ExpiresAt) || !last.To.Equal(e.Until) {
			t.Errorf("history %+v, want %s from %s to %s", last, action, held().ExpiresAt, e.Until)
		}
	}
}
