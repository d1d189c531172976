package cli

import (
	"maps"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "45m": 45 * time.Minute, "8h": 8 * time.Hour, "3d": 3 * day, "2w": 14 * day,
		"1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"0": 0, "-4h": -4 * time.Hour,
	} {
		if got, err := Duration("for", text); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "4", "four hours", "4 h", "h", "3D", "-3d", "1h2d", "99999w"} {
		if got, err := Duration("for", text); ExitCode(err) != ExitUsage {
			t.Errorf("%q is %s, %v; want wrong usage", text, got, err)
		}
	}
}

func TestDurationsThatProbablyMeanSomethingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, text, want string }{
		{"for", "+2h", "--for +2h counts from now; to add to the current expiry, use --by 2h"},
		{"term", "+3d", "--term +3d: leave out the +"},
		{"by", "++2h", "--by \"++2h\" is not a duration; write it as 90s, 45m, 8h, 3d or 2w"},
		{"for", "2027-02-03", "--for \"2027-02-03\" is a date, and this takes a duration such as 90s, 45m, 8h, 3d or 2w; use --until \"2027-02-03\""},
		{"term", "2027-02-03 18:00", "--term \"2027-02-03 18:00\" is a date, and this takes a duration such as 90s, 45m, 8h, 3d or 2w"},
	} {
		if got, err := Duration(c.flag, c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
	for text, want := range map[string]time.Duration{"+2h": 2 * time.Hour, "+3d": 3 * day} {
		if got, err := Duration("by", text); err != nil || got != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"4h", "+2h", "3d"} {
		_, err := Date("until", text)
		if err == nil || !strings.Contains(err.Error(), " is a duration, and this takes a date; use --for "+strings.TrimPrefix(text, "+")+" to count from now") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDurationOrNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"none": 0, "7d": 7 * day} {
		if got, err := DurationOrNone("term", text); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "0s", "-1h", "never"} {
		if got, err := DurationOrNone("term", text); ExitCode(err) != ExitUsage {
			t.Errorf("%q is %s, %v; want wrong usage", text, got, err)
		}
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	local := func(hour, minute, second int) time.Time {
		return time.Date(2027, 2, 3, hour, minute, second, 0, time.Local).UTC()
	}
	for text, want := range map[string]time.Time{
		"2027-02-03T04:05:06Z":      time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC),
		"2027-02-03T04:05:06.7Z":    time.Date(2027, 2, 3, 4, 5, 6, 700_000_000, time.UTC),
		"2027-02-03T04:05:06+02:00": time.Date(2027, 2, 3, 2, 5, 6, 0, time.UTC),
		"2027-02-03T04:05:06":       local(4, 5, 6),
		"2027-02-03T04:05":          local(4, 5, 0),
		"2027-02-03 04:05:06":       local(4, 5, 6),
		"2027-02-03 04:05":          local(4, 5, 0),
		"2027-02-03":                local(0, 0, 0),
	} {
		if got, err := Date("until", text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "none", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "friday 6pm", "friday 18:00 utc", "fryday", "fr 18:00", "tomorrow", "4h", "2027-13-01", "03.02.2027", "25:00", "18:00:00"} {
		if got, err := Date("until", text); ExitCode(err) != ExitUsage {
			t.Errorf("%q is %s, %v; want wrong usage", text, got, err)
		}
	}
}

func TestDateOfToday(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 2, 3, 22, 30, 0, 0, time.FixedZone("here", 3*3600))
	if got, err := date("until", "18:00", now); err != nil || !got.Equal(time.Date(2027, 2, 3, 15, 0, 0, 0, time.UTC)) || got.Location() != time.UTC {
		t.Errorf("18:00 is %s, %v", got, err)
	}
	for text, want := range map[string]time.Time{ // it is a Wednesday
		"friday 18:00":    time.Date(2027, 2, 5, 18, 0, 0, 0, now.Location()),
		"Fri 18:00":       time.Date(2027, 2, 5, 18, 0, 0, 0, now.Location()),
		"friday":          time.Date(2027, 2, 5, 0, 0, 0, 0, now.Location()),
		"wednesday 22:31": time.Date(2027, 2, 3, 22, 31, 0, 0, now.Location()),
		"wednesday 22:30": time.Date(2027, 2, 10, 22, 30, 0, 0, now.Location()),
		"WED":             time.Date(2027, 2, 10, 0, 0, 0, 0, now.Location()),
		"tuesday 00:00":   time.Date(2027, 2, 9, 0, 0, 0, 0, now.Location()),
	} {
		if got, err := date("until", text, now); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	_, err := date("until", "soon", now)
	want := "--until \"soon\" is not a date; write it as 2027-02-04T15:00:00Z or, in local time, as \"2027-02-04 18:00\", 2027-02-04 (its beginning), 18:00 (today) or \"friday 18:00\""
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestPairs(t *testing.T) {
	t.Parallel()
	got, err := Pairs("label", []string{"team=search", "empty=", "sum=1+1=2", " spaced = a, b"})
	if want := map[string]string{"team": "search", "empty": "", "sum": "1+1=2", "spaced": " a, b"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, text := range []string{"", "team", "=search"} {
		if got, err := Pairs("label", []string{text}); ExitCode(err) != ExitUsage {
			t.Errorf("%q is %v, %v; want wrong usage", text, got, err)
		}
	}
	_, err = Pairs("label", []string{"team=search", "stage=test", "team=ads"})
	if want := "--label team is given twice, as search and ads; it takes one value"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "in 0s", 40 * time.Second: "in 40s", 90 * time.Second: "in 1m30s", 3*time.Hour + 12*time.Minute: "in 3h12m",
		26 * time.Hour: "in 1d2h", -5 * time.Minute: "5m0s ago", -10 * day: "10d0h ago",
	} {
		if got := Away(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	if got := When(time.Time{}, time.Now()); got != "none" {
		t.Errorf("no time is %q", got)
	}
}
