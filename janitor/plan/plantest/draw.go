package plantest

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// OneIn is true once in n times.
func OneIn(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == n }

func Pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// Copied shares nothing with v that a decision could alter.
func Copied(v World) World {
	s := &v.Snapshot
	s.Leases, s.Launches, s.Bad = slices.Clone(s.Leases), slices.Clone(s.Launches), slices.Clone(s.Bad)
	s.Heartbeats, v.Renewals = maps.Clone(s.Heartbeats), maps.Clone(v.Renewals)
	s.Checkpoint.Enforcing, s.Checkpoint.Leaderships = maps.Clone(s.Checkpoint.Enforcing), slices.Clone(s.Checkpoint.Leaderships)
	for n := range s.Leases {
		if mark := s.Leases[n].Mark; mark != nil {
			again := *mark
			s.Leases[n].Mark = &again
		}
	}
	for n := range s.Launches {
		s.Launches[n].FirstSeen, s.Launches[n].Attempts = maps.Clone(s.Launches[n].FirstSeen), slices.Clone(s.Launches[n].Attempts)
	}
	v.Locations = slices.Clone(v.Locations)
	for n := range v.Locations {
		p := &v.Locations[n]
		p.Instances, p.Absent = slices.Clone(p.Instances), maps.Clone(p.Absent)
		for k := range p.Instances {
			p.Instances[k].Tags = maps.Clone(p.Instances[k].Tags)
		}
	}
	return v
}
