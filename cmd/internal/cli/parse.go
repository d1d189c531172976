package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Duration reads 90s, 45m, 8h, 3d, 2w and sums of them. name is that of the flag, for the error.
func Duration(name, text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, Usage("--%s %q is not a duration; write it as 90s, 45m, 8h, 3d or 2w", name, text)
	}
	return time.Duration(d), nil
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

// Date reads RFC 3339, or a date and time of the local zone: 2006-01-02T15:04[:05], with a space for the T, or a date
// alone.
func Date(name, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, Usage("--%s %q is not a date; write it as %s or, in local time, 2006-01-02 15:04", name, text, time.RFC3339)
}

// Pairs reads key=value pairs.
func Pairs(name string, texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	pairs := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, Usage("--%s %q is not of the form key=value", name, text)
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
