package lease_test

import (
	"fmt"
	"testing"
	"time"

	"lapse/lease"
)

// However often a lease is extended, its record tells who launched it, and how much it does not tell.
func TestAHistoryKeepsItsFirstAndItsLastTransitions(t *testing.T) {
	t.Parallel()
	l := lease.Adopt(noon, lease.Instance{ID: "i-1"}, at(time.Hour), time.Time{}, "ada", nil, lease.By{Actor: "launcher"})
	const changes = 40
	for n := range changes {
		var err error
		if l, err = l.Extend(noon, lease.Extension{Until: at(time.Duration(n+2) * time.Hour)}, lease.By{Actor: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	first, last := l.History[0], l.History[len(l.History)-1]
	if first.Action != "adopt" || first.Actor != "launcher" || last.Actor != fmt.Sprint(changes-1) {
		t.Errorf("from %+v to %+v", first, last)
	}
	if len(l.History) != 16 || l.HistoryDropped != changes+1-16 || l.Changes != changes+1 {
		t.Errorf("%d kept, %d dropped, of %d", len(l.History), l.HistoryDropped, l.Changes)
	}
	recent := l.Recent()
	for n, kept := range recent {
		if want := fmt.Sprint(changes - len(recent) + n); kept.Actor != want {
			t.Errorf("the recent transition %d is by %s, want %s", n, kept.Actor, want)
		}
	}
	if len(recent) != 12 {
		t.Errorf("%d recent ones", len(recent))
	}
}

func TestNewEntriesOfAHistory(t *testing.T) {
	t.Parallel()
	few := lease.Adopt(noon, lease.Instance{ID: "i-1"}, at(time.Hour), time.Time{}, "ada", nil, ada)
	few = must(few.Activate(noon, ada))
	many := few
	for n := range 40 {
		many = must(many.Unmark(at(time.Duration(n)*time.Minute), ada))
	}
	for name, c := range map[string]struct {
		l         lease.Lease
		since     int64
		news      int
		forgotten int64
	}{
		"nothing":                      {few, 2, 0, 0},
		"nothing, after a set-back":    {few, 9, 0, 0},
		"one":                          {few, 1, 1, 0},
		"all":                          {few, 0, 2, 0},
		"what is remembered":           {many, many.Changes - 12, 12, 0},
		"one more than is remembered":  {many, many.Changes - 13, 12, 1},
		"all, of which most is lost":   {many, 0, 12, 30},
		"a record without its history": {lease.Lease{Changes: 5}, 0, 0, 0},
	} {
		news, forgotten := c.l.Since(c.since)
		if len(news) != c.news || forgotten != c.forgotten {
			t.Errorf("%s: %d, and %d forgotten; want %d and %d", name, len(news), forgotten, c.news, c.forgotten)
		}
		if history := c.l.History; len(news) > 0 && news[len(news)-1].Time != history[len(history)-1].Time {
			t.Errorf("%s: ends with %+v", name, news[len(news)-1])
		}
	}
}
