package ec2sim

import (
	"maps"
	"slices"
)

// Instances returns all instances of all regions that can be described,
// terminated ones too, oldest first within a region.
func (s *Sim) Instances() []Instance {
	return copies(s, func(r *region) *table[*Instance] { return &r.instances }, (*Instance).clone)
}

// Instance returns one instance, and whether it can be described.
func (s *Sim) Instance(id string) (i Instance, known bool) {
	known = s.with(id, func(_ *region, found *Instance) { i = found.clone() })
	return i, known
}

// Volumes returns all volumes of all regions.
func (s *Sim) Volumes() []Volume {
	return copies(s, func(r *region) *table[*Volume] { return &r.volumes }, (*Volume).clone)
}

// Interfaces returns all network interfaces of all regions.
func (s *Sim) Interfaces() []Interface {
	return copies(s, func(r *region) *table[*Interface] { return &r.interfaces }, (*Interface).clone)
}

// SpotRequests returns all spot requests of all regions.
func (s *Sim) SpotRequests() []SpotRequest {
	return copies(s, func(r *region) *table[*SpotRequest] { return &r.spots }, (*SpotRequest).clone)
}

// copies are the rows of one table of all regions.
func copies[T row, Copy any](s *Sim, of func(*region) *table[T], clone func(T) Copy) (found []Copy) {
	s.each(func(r *region) {
		for _, row := range of(r).all() {
			found = append(found, clone(row))
		}
	})
	return found
}

// each calls look for every region, up to date and locked.
func (s *Sim) each(look func(*region)) {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.regions)) {
		s.settle(s.regions[name], now)
		look(s.regions[name])
	}
}
