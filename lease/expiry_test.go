package lease_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// on is a tag's word: a date so long after noon, with a number.
func on(d time.Duration, number int64) lease.Expiry { return lease.Expiry{At: at(d), Number: number} }

func TestOnlyTheExactFormOfATagIsRead(t *testing.T) {
	t.Parallel()
	december := time.Date(2026, 12, 1, 18, 0, 0, 0, time.UTC)
	for value, want := range map[string]lease.Expiry{
		"2026-12-01T18:00:00Z":           {At: december, Number: 1},
		"2026-12-01T18:00:00Z 1":         {At: december, Number: 1},
		"2026-12-01T18:00:00Z 7":         {At: december, Number: 7},
		"2026-12-01T18:00:00Z 999000000": {At: december, Number: 999000000},
		"none":                           {Number: 1},
		"none 7":                         {Number: 7},
	} {
		if got := lease.ParseExpiry(value); got != want {
			t.Errorf("%q is read as %+v, want %+v", value, got, want)
		}
	}
	for _, value := range []string{
		"", " ", "7", "none ", " none", "None", "none 0", "none -7", "none +7", "none 07", "none  7", "none 7 ", "none\t7", "none 7 7",
		"none 999000001", "none 1000000000", "none 9223372036854775808", "none 7.0", "none 1e3", "none 0x7", "none ٧",
		"2026-12-01T18:00:00", "2026-12-01T18:00:00z", "2026-12-01T18:00:00+00:00 7", "2026-12-01T18:00:00.5Z 7", "2026-12-01T18:00:00,5Z",
		"2026-12-01 18:00:00Z", "2026-12-01T18:00Z", "2026-02-30T18:00:00Z 7", "2026-12-01T24:00:00Z 7", "2026-12-01T23:59:60Z 7",
		"12026-12-01T18:00:00Z 7", "-026-12-01T18:00:00Z", "0001-01-01T00:00:00Z 7", "2026-12-01T18:00:00Z7", "tomorrow 7",
	} {
		got := lease.ParseExpiry(value)
		if got != (lease.Expiry{}) || got.Passed(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0) {
			t.Errorf("%q is read as %+v", value, got)
		}
	}
}

func TestATagHasItsDateRoundedDownToSeconds(t *testing.T) {
	t.Parallel()
	l := held()
	l.ExpiresAt = time.Date(2026, 12, 1, 19, 0, 0, 999e6, time.FixedZone("", 3600))
	for number, want := range map[int64][2]string{
		0: {"", ""}, 1: {"2026-12-01T18:00:00Z", "none"}, 7: {"2026-12-01T18:00:00Z 7", "none 7"},
	} {
		l.ExpiresNumber = number
		without := l
		without.ExpiresAt = time.Time{}
		if got := [2]string{l.Expiry().String(), without.Expiry().String()}; got != want {
			t.Errorf("number %d: %q, want %q", number, got, want)
		}
	}
}

func TestATagIsReadAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := lease.Expiry{Number: rapid.Int64Range(1, lease.MaxTagNumber).Draw(t, "number")}
		if rapid.Bool().Draw(t, "dated") {
			e.At = time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "date"), 0).UTC()
		}
		if e.At.Equal(time.Time{}) {
			e.At = time.Time{}
		}
		if got := lease.ParseExpiry(e.String()); !got.At.Equal(e.At) || got.Number != e.Number {
			t.Fatalf("%+v is written %q and read %+v", e, e.String(), got)
		}
	})
}

func TestNothingMalformedCountsAsPassed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom([]string{"2026-12-01T18:00:00Z 7", "2026-12-01T18:00:00Z", "none 7", "0999-01-01T00:00:00Z 999000000"}).Draw(t, "tag")
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			at := rapid.IntRange(0, len(value)).Draw(t, "at")
			to := min(len(value), at+rapid.IntRange(0, 2).Draw(t, "cut"))
			piece := rapid.SampledFrom([]string{"", " ", "0", "9", "-", "+", "Z", "z", ":", "T", "none", ".5", "\x00", "é"}).Draw(t, "piece")
			value = value[:at] + piece + value[to:]
		}
		checkTag(t, value)
	})
}

// FuzzExpiry: whatever stands on a tag is a date with a number, by its exact form, or says nothing that counts.
func FuzzExpiry(f *testing.F) {
	for _, value := range []string{"", "none", "none 7", "2026-12-01T18:00:00Z 7", "2026-12-01T18:00:00.5Z 7", "0001-01-01T00:00:00Z", "none 999000001"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) { checkTag(t, value) })
}

// checkTag reads a tag, whose only other way to say the same is the number 1 at its end.
func checkTag(t rapid.TB, value string) {
	t.Helper()
	e := lease.ParseExpiry(value)
	exact := e.Number > 0 && (value == e.String() || e.Number == 1 && value == e.String()+" 1")
	if !exact && e != (lease.Expiry{}) {
		t.Fatalf("%q is read as %+v", value, e)
	}
	passed := e.Passed(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), 0)
	if passed != (exact && !strings.HasPrefix(value, "none")) {
		t.Fatalf("%q has passed in the end: %t", value, passed)
	}
	if keys := lease.Compare(held(), e); e.Number == 0 && (keys.State != lease.TagBehind || keys.Earlier) {
		t.Fatalf("%q against a record: %+v", value, keys)
	}
}

func TestADateHasPassedFromItsGraceOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e    lease.Expiry
		now  time.Time
		want bool
	}{
		"before":            {on(time.Hour, 7), at(time.Hour + time.Minute - 1), false},
		"at":                {on(time.Hour, 7), at(time.Hour + time.Minute), true},
		"none":              {lease.Expiry{Number: 7}, at(1e6 * time.Hour), false},
		"absent":            {lease.Expiry{}, at(1e6 * time.Hour), false},
		"a date, no number": {on(time.Hour, 0), at(1e6 * time.Hour), false},
	} {
		if got := c.e.Passed(c.now, time.Minute); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Every case of the two keys: the record is numbered 5 and ends 10 h after noon.
func TestRecordAndTagAreCompared(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	record := func(d time.Duration, number, shortened int64) lease.Lease {
		l := held()
		l.ExpiresAt, l.ExpiresNumber, l.ShortenedAt = at(d), number, shortened
		return l
	}
	none := func(number, shortened int64) lease.Lease {
		l := record(0, number, shortened)
		l.ExpiresAt = time.Time{}
		return l
	}
	behind := func(e lease.Expiry) lease.Keys { return lease.Keys{State: lease.TagBehind, Write: e} }
	earlier := func(e lease.Expiry) lease.Keys { return lease.Keys{State: lease.TagBehind, Write: e, Earlier: true} }
	for name, c := range map[string]struct {
		l    lease.Lease
		tag  lease.Expiry
		want lease.Keys
	}{
		"the same":                                     {record(10*h, 5, 0), on(10*h, 5), lease.Keys{State: lease.KeysAgree}},
		"the same but for parts of a second":           {record(10*h+999*time.Millisecond, 5, 0), on(10*h, 5), lease.Keys{State: lease.KeysAgree}},
		"none on both":                                 {none(5, 0), lease.Expiry{Number: 5}, lease.Keys{State: lease.KeysAgree}},
		"extended":                                     {record(10*h, 5, 0), on(8*h, 4), behind(on(10*h, 5))},
		"extended to none":                             {none(5, 0), on(8*h, 4), behind(lease.Expiry{Number: 5})},
		"renumbered by an operator":                    {record(10*h, 5, 0), on(10*h, 4), behind(on(10*h, 5))},
		"no tag, or a malformed one":                   {record(10*h, 5, 0), lease.Expiry{}, behind(on(10*h, 5))},
		"no tag, none on record":                       {none(1, 0), lease.Expiry{}, behind(lease.Expiry{Number: 1})},
		"the record later, of the same number":         {record(10*h, 5, 0), on(8*h, 5), behind(on(10*h, 5))},
		"none on record, of the same number":           {none(5, 0), on(8*h, 5), behind(lease.Expiry{Number: 5})},
		"shortened by a person":                        {record(10*h, 5, 5), on(20*h, 4), earlier(on(10*h, 5))},
		"shortened, then extended by less":             {record(10*h, 5, 4), on(20*h, 3), earlier(on(10*h, 5))},
		"shortened from none":                          {record(10*h, 5, 5), lease.Expiry{Number: 4}, earlier(on(10*h, 5))},
		"earlier, and never shortened":                 {record(10*h, 5, 0), on(20*h, 4), lease.Keys{State: lease.RecordEarlier}},
		"earlier than none, and never shortened":       {record(10*h, 5, 0), lease.Expiry{Number: 4}, lease.Keys{State: lease.RecordEarlier}},
		"shortened before what the tag says":           {record(10*h, 5, 3), on(20*h, 4), lease.Keys{State: lease.RecordEarlier}},
		"shortened at the tag's own number":            {record(10*h, 5, 4), on(20*h, 4), lease.Keys{State: lease.RecordEarlier}},
		"set back":                                     {record(10*h, 5, 0), on(20*h, 6), lease.Keys{State: lease.RecordBehind}},
		"set back, and the lost word was a shortening": {record(10*h, 5, 0), on(8*h, 6), lease.Keys{State: lease.RecordBehind}},
		"set back, and the lost word changed no date":  {record(10*h, 5, 0), on(10*h, 6), lease.Keys{State: lease.RecordBehind}},
		"set back from none":                           {record(10*h, 5, 5), lease.Expiry{Number: 6}, lease.Keys{State: lease.RecordBehind}},
		"set back, then one extension to less":         {record(10*h, 5, 0), on(20*h, 5), lease.Keys{State: lease.RecordBehind}},
		"the tag none, of the same number":             {record(10*h, 5, 0), lease.Expiry{Number: 5}, lease.Keys{State: lease.RecordBehind}},
		"the last number that a tag may say":           {record(10*h, lease.MaxTagNumber, 0), on(8*h, 4), behind(on(10*h, lease.MaxTagNumber))},
		"more than a tag may say":                      {record(10*h, lease.MaxTagNumber+1, 0), lease.Expiry{}, lease.Keys{State: lease.TagSpent}},
	} {
		if got := lease.Compare(c.l, c.tag); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestOfTwoDatesExactlyOneIsNewerUnlessTheyAreEqual(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawExpiry(t), drawExpiry(t)
		same := a.Number == b.Number && a.At.Equal(b.At)
		if a.Newer(b) && b.Newer(a) || same == (a.Newer(b) || b.Newer(a)) {
			t.Fatalf("%+v and %+v: %t and %t", a, b, a.Newer(b), b.Newer(a))
		}
	})
}
