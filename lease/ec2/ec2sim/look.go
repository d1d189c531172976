package ec2sim

// Instances returns all instances of all regions that can be described,
// terminated ones too, oldest first within a region.
func (s *Sim) Instances() []Instance {
	var found []Instance
	s.each(func(r *region) {
		for _, i := range r.instances.all() {
			found = append(found, i.clone())
		}
	})
	return found
}

// Instance returns one instance, and whether it can be described.
func (s *Sim) Instance(id string) (Instance, bool) {
	var found *Instance
	s.each(func(r *region) {
		if i, ok := r.instances.get(id); ok {
			c := i.clone()
			found = &c
		}
	})
	if found == nil {
		return Instance{}, false
	}
	return *found, true
}

// Volumes returns all volumes of all regions.
func (s *Sim) Volumes() []Volume {
	var found []Volume
	s.each(func(r *region) {
		for _, v := range r.volumes.all() {
			found = append(found, v.clone())
		}
	})
	return found
}

// Interfaces returns all network interfaces of all regions.
func (s *Sim) Interfaces() []Interface {
	var found []Interface
	s.each(func(r *region) {
		for _, n := range r.interfaces.all() {
			found = append(found, n.clone())
		}
	})
	return found
}

// SpotRequests returns all spot requests of all regions.
func (s *Sim) SpotRequests() []SpotRequest {
	var found []SpotRequest
	s.each(func(r *region) {
		for _, spot := range r.spots.all() {
			found = append(found, spot.clone())
		}
	})
	return found
}

// each calls look for every region, up to date and locked.
func (s *Sim) each(look func(*region)) {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.regionNames() {
		s.settle(s.regions[name], now)
		look(s.regions[name])
	}
}
