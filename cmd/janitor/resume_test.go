package main

import (
	"maps"
	"slices"
	"testing"

	"lapse/lease"
)

func TestLeasesAreBehindAlsoWhenTheirSidecarsHaveStopped(t *testing.T) {
	t.Parallel()
	held := func(id string, seen int) lease.Brake {
		return lease.Brake{Name: lease.BrakeRestored, Scope: id, Count: seen}
	}
	s := lease.Snapshot{
		Leases: []lease.Lease{
			{InstanceID: "i-beats", Changes: 3}, {InstanceID: "i-stopped", Changes: 3}, {InstanceID: "i-began-anew", Changes: 3}, {InstanceID: "i-caught-up", Changes: 8},
		},
		Heartbeats: map[string]lease.Heartbeat{
			"i-beats": {Held: true, Changes: 5}, "i-began-anew": {Held: true, Changes: 1}, "i-ghost": {Changes: 9}, "i-lost": {Held: true, Changes: 9},
		},
		Sweep: lease.Sweep{Brakes: []lease.Brake{
			{Name: lease.BrakeRestored},
			{Name: lease.BrakeSilence, Scope: "zone", Count: 4},
			held("i-stopped", 7), held("i-began-anew", 7), held("i-caught-up", 7), held("i-lost", 9),
		}},
	}
	seen, lost := behind(s, lease.BrakeRestored)
	if want := map[string]int64{"i-beats": 5, "i-stopped": 7, "i-began-anew": 7}; !maps.Equal(seen, want) || !slices.Equal(lost, []string{"i-lost"}) {
		t.Errorf("behind %v, without a record %v; want %v, and i-lost", seen, lost, want)
	}
	if seen, lost := behind(s, lease.BrakeStranger); len(seen)+len(lost) > 0 {
		t.Errorf("behind %v, without a record %v, where another brake is meant", seen, lost)
	}
}
