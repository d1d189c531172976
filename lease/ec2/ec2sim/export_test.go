package ec2sim

import (
	"maps"
	"slices"
)

// Actions returns the names of all actions that a Sim serves.
func (s *Sim) Actions() []string { return slices.Sorted(maps.Keys(s.actions)) }

// ListsCode reports whether an error code is in the table of codes.
func ListsCode(code string) bool {
	_, listed := statusOf(code)
	return listed
}
