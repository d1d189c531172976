package main

import (
	"testing"
	"time"

	"lapse/lease"
)

func TestTheNoteOfAnAdoptionSaysThatItsTagIsMissing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ago, want := range map[time.Duration]string{time.Minute: "", 6 * time.Minute: "adopted, but lacks its tag"} {
		l := lease.Adopt(now.Add(-ago), lease.Instance{ID: "i-1"}, now.Add(time.Hour), time.Time{}, "ada", nil, lease.By{Actor: "ada"})
		if got := note(l, lease.Circumstances{Now: now}, now); got != want {
			t.Errorf("after %s: %q, want %q", ago, got, want)
		}
	}
}
