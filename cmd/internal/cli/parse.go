package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lapse/lease"
)

// Duration reads 90s, 45m, 8h, 3d, 2w and sums of them. name is that of the flag, for the error. A plus sign is for
// --by only, which adds; for other flags it is refused.
func Duration(name, text string) (time.Duration, error) {
	plain, plus := strings.CutPrefix(text, "+")
	d, ok := duration(plain)
	switch {
	case ok && (!plus || name == "by"):
		return d, nil
	case ok && name == "for":
		return 0, Usage("--for %s counts from now; to add to the current expiry, use --by %s", text, plain)
	case ok:
		return 0, Usage("--%s %s: leave out the +", name, text)
	}
	if _, err := date(name, text, time.Now()); err == nil {
		return 0, Usage("--%s %q is a date, and this takes a duration such as 90s, 45m, 8h, 3d or 2w%s", name, text, instead(name, text))
	}
	return 0, Usage("--%s %q is not a duration; write it as 90s, 45m, 8h, 3d or 2w", name, text)
}

// instead is the flag for a date beside those for a duration.
func instead(name, text string) string {
	if name == "for" || name == "by" {
		return fmt.Sprintf("; use --until %q", text)
	}
	return ""
}

func duration(text string) (d time.Duration, ok bool) {
	if strings.HasPrefix(text, "+") {
		return 0, false
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d, true
	}
	return long(text)
}

// long reads a sum of whole numbers with the units of Prometheus, longest first: 2w, 1d12h. Its own package would link
// protocol buffers into every command.
//
// Source: https://prometheus.io/docs/concepts/metric_types and the durations of PromQL.
func long(text string) (d time.Duration, ok bool) {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{
		{"y", 365 * day}, {"w", 7 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
	} {
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		rest, is := strings.CutPrefix(text[digits:], unit.name)
		if !is || strings.HasPrefix(rest, "s") && unit.name == "m" { // which is ms
			continue
		}
		n, err := strconv.ParseInt(text[:digits], 10, 64)
		if err != nil || n > int64((math.MaxInt64-d)/unit.is) {
			return 0, false
		}
		d, text, ok = d+time.Duration(n)*unit.is, rest, true
	}
	return d, ok && text == ""
}

// DurationOrNone reads a duration above zero, or "none" as zero.
func DurationOrNone(name, text string) (time.Duration, error) {
	if text == "none" {
		return 0, nil
	}
	d, err := Duration(name, text)
	if err == nil && d <= 0 {
		return 0, Usage("--%s %s must be above zero, or none", name, text)
	}
	return d, err
}

// firstYear is the earliest year that somebody may mean.
const firstYear = 1970

// Date reads RFC 3339, or a date and time of the local zone: 2027-02-01T18:00[:05], with a space for the T, or a date
// alone, or 18:00 for today, or the next weekday of a name, as in "friday 18:00".
func Date(name, text string) (time.Time, error) {
	t, err := date(name, text, time.Now())
	if err == nil && t.Year() < firstYear {
		return time.Time{}, Usage("--%s %q is long past; give a date in the future", name, text)
	}
	if err == nil && lease.CheckDate(t) != nil {
		return time.Time{}, Usage("--%s %q is %d in UTC, a year that no record can hold; give another date", name, text, t.Year())
	}
	return t, err
}

func date(name, text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t.UTC(), nil
		}
	}
	if plain := strings.TrimPrefix(text, "+"); plain != "" {
		if _, ok := duration(plain); ok {
			return time.Time{}, Usage("--%s %q is a duration, and this takes a date; use --for %s to count from now, or --by %s to add it",
				name, text, plain, plain)
		}
	}
	year, month, day := now.Date()
	if t, err := time.Parse("15:04", text); err == nil {
		return time.Date(year, month, day, t.Hour(), t.Minute(), 0, 0, now.Location()).UTC(), nil
	}
	if t, ok := weekday(text, now); ok {
		return t.UTC(), nil
	}
	if text == "none" {
		return time.Time{}, Usage("--%s none: this takes a date; write one as %s", name, now.AddDate(0, 0, 1).Format(time.DateOnly))
	}
	example := time.Date(year, month, day+1, 18, 0, 0, 0, now.Location())
	return time.Time{}, Usage("--%s %q is not a date; write it as %s or, in local time, as \"%s\", %s (its beginning), 18:00 (today) or \"friday 18:00\"",
		name, text, example.UTC().Format(time.RFC3339), example.Format("2006-01-02 15:04"), example.Format(time.DateOnly))
}

// weekday reads a weekday, or its first three letters, and a time of it; without a time, its beginning. It is the next
// such time in the future, which may be today.
func weekday(text string, now time.Time) (time.Time, bool) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 || len(words) > 2 {
		return time.Time{}, false
	}
	clock := time.Time{}
	if len(words) == 2 {
		var err error
		if clock, err = time.Parse("15:04", words[1]); err != nil {
			return time.Time{}, false
		}
	}
	for ahead := range 8 {
		day := now.AddDate(0, 0, ahead)
		name := strings.ToLower(day.Weekday().String())
		at := time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
		if (words[0] == name || words[0] == name[:3]) && at.After(now) {
			return at, true
		}
	}
	return time.Time{}, false
}

// DateFlag is the date that a flag gives. One of the local zone is echoed in UTC.
func DateFlag(c *cli.Context, name string) (time.Time, error) {
	t, err := Date(name, c.String(name))
	if _, local := time.Parse(time.RFC3339, c.String(name)); err == nil && local != nil {
		Say(c, "%s here is %s", c.String(name), t.Format(time.RFC3339))
	}
	return t, err
}

// Pairs reads key=value pairs, each key once.
func Pairs(name string, texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	pairs := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, Usage("--%s %q is not of the form key=value", name, text)
		}
		if earlier, twice := pairs[key]; twice {
			return nil, Usage("--%s %s is given twice, as %s and %s; it takes one value", name, key, earlier, value)
		}
		pairs[key] = value
	}
	return pairs, nil
}

// When prints a time for people: UTC, and how far it is from now.
func When(t, now time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339) + " (" + Away(t.Sub(now)) + ")"
}

// Away prints how far a time is from now: "in 3h12m", "5m ago".
func Away(d time.Duration) string {
	if d < 0 {
		return short(-d) + " ago"
	}
	return "in " + short(d)
}

// short prints a duration with its two largest units.
func short(d time.Duration) string {
	d = d.Round(time.Second)
	switch days := d / (24 * time.Hour); {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, (d%(24*time.Hour))/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, (d%time.Hour)/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, (d%time.Minute)/time.Second)
	}
	return d.String()
}

// SelfExtend tells how far an instance may extend its own lease; empty if that is up to the maximum.
func SelfExtend(limit *lease.Duration) string {
	switch {
	case limit == nil:
		return ""
	case *limit == 0:
		return "none"
	}
	return short(time.Duration(*limit)) + " from when the instance asks"
}

// ClockBehind says that the clock of this machine is behind.
func ClockBehind(by time.Duration) string {
	return "this machine's clock is at least " + short(by) + " behind: the last sweep is dated later"
}

// SayClock warns people of doubts about the clock that dates were computed with.
func SayClock(c *cli.Context, r lease.Reckoning) {
	if r.Behind > 0 {
		Say(c, "warning: %s; durations were counted from the last sweep", ClockBehind(r.Behind))
	}
	if r.Late > 0 {
		Say(c, "warning: the next sweep was due %s ago: no janitor sweeps, or this machine's clock is ahead", short(r.Late))
	}
}
