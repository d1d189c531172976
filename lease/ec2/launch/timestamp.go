package launch

import (
	"strconv"
	"strings"
	"time"
)

// parseTime reads a time in any form that the AWS CLI takes: ISO 8601 and its relatives, with or without a time of day
// and an offset; the dates of mail and HTTP; and seconds since 1970, as a number or a string. Without an offset it is UTC:
// a request must mean the same on every machine. It reports false for any other text.
//
// Source: https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-types.html#parameter-type-timestamp
func parseTime(text string) (time.Time, bool) {
	text = strings.ToUpper(strings.Join(strings.Fields(text), " "))
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		whole := int64(seconds)
		at := time.Unix(whole, int64((seconds-float64(whole))*1e6)*1e3).UTC() // microseconds, which a float64 holds
		return at, at.Year() > 0 && at.Year() <= 9999 && seconds > -1e11 && seconds < 1e12
	}
	for _, zone := range []string{" GMT", " UTC"} { // at the end, or before the year
		text = strings.Replace(strings.TrimSuffix(text, zone), zone+" ", " ", 1)
	}
	if first, rest, _ := strings.Cut(text, " "); isWeekday(strings.TrimSuffix(first, ",")) {
		text = rest
	}
	for _, date := range []string{
		"2006-1-2", "2006/1/2", "20060102", "2 Jan 2006", "2 January 2006", "2-Jan-06", "2-Jan-2006", "Jan 2 2006", "January 2 2006",
		"Jan 2, 2006", "January 2, 2006", "2006.1.2", "1/2/2006", "2/1/2006", // the month first, where both can be
	} {
		for _, clock := range []string{"", "15:04:05", "15:04", "15", "150405", "1504", "3:04:05PM", "3:04:05 PM", "3:04PM", "3:04 PM", "3PM", "3 PM"} {
			for _, offset := range []string{"", "Z07:00", "Z0700", "Z07", " Z07:00", " Z0700"} {
				for _, between := range []string{"T", " "} {
					if at, err := time.Parse(strings.TrimSpace(strings.TrimSuffix(date+between+clock, "T"))+offset, text); err == nil {
						return at.UTC(), true
					}
				}
			}
		}
	}
	for _, form := range []string{"Jan 2 15:04:05 2006", "Jan 2 3:04:05 PM 2006"} { // what date and ctime print
		if at, err := time.Parse(form, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// isWeekday reports whether a word, in capitals, is the name of a weekday, or the first letters of one.
func isWeekday(word string) bool {
	for day := range time.Saturday + 1 {
		if name := strings.ToUpper(day.String()); len(word) >= len("Sun") && strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}
