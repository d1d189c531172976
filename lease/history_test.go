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
