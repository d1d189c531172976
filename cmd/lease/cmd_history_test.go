package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lapse/lease"
)

func TestAHistoryCountsTheChangesItOmits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := lease.Adopt(now, lease.Instance{ID: "i-1"}, now.Add(time.Hour), time.Time{}, "ada", nil, lease.By{Actor: "launcher"})
	for n := range 40 {
		var err error
		if l, err = l.Extend(now, lease.Extension{Until: now.Add(time.Duration(n+2) * time.Hour)}, lease.By{Actor: "ada"}); err != nil {
			t.Fatal(err)
		}
	}
	events := eventsOf([]lease.Lease{l})
	if events[0].Action != "adopt" || events[0].Actor != "launcher" {
		t.Errorf("it begins with %+v", events[0])
	}
	told := int64(len(events))
	for n, e := range events {
		told += e.Dropped
		if e.Dropped > 0 && n != 4 {
			t.Errorf("%d changes are said to be missing before the one with index %d", e.Dropped, n)
		}
	}
	if told != l.Changes {
		t.Errorf("%d changes are told or counted, of %d", told, l.Changes)
	}
	text, err := json.Marshal(events[4])
	if err != nil || !strings.Contains(string(text), `"dropped":25`) {
		t.Errorf("%s, %v", text, err)
	}
	shown := false
	for _, row := range facts(l, lease.Circumstances{Now: now}, now) {
		shown = shown || row[0] == "history" && strings.HasPrefix(row[1], "25 of its changes are not kept")
	}
	if !shown {
		t.Errorf("show says nothing of what is not kept: %v", facts(l, lease.Circumstances{Now: now}, now))
	}
}
