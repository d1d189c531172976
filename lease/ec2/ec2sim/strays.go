package ec2sim

import "maps"

// AddVolume makes a volume that no launch made: a copy of tags, another's, one that EC2 left behind. What v leaves empty
// is filled in: available, in the first zone of the Sim's region, made now. A volume of that id is replaced.
func (s *Sim) AddVolume(v Volume) Volume {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	fill(&v.Region, s.config.Region)
	r := s.regionNamed(v.Region)
	if v.ID == "" {
		v.ID = s.newID("vol")
	}
	v.Zone = s.subnetIn(r, v.Zone).Name
	fill(&v.State, available)
	if v.SizeGB == 0 {
		v.SizeGB = 8
	}
	if v.Created.IsZero() {
		v.Created = now
	}
	v.Tags = maps.Clone(v.Tags)
	r.volumes.remove(func(other *Volume) bool { return other.ID == v.ID })
	r.volumes.add(&v)
	return v.clone()
}

// AddInterface makes an interface as AddVolume makes a volume.
func (s *Sim) AddInterface(n Interface) Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	fill(&n.Region, s.config.Region)
	r := s.regionNamed(n.Region)
	if n.ID == "" {
		n.ID = s.newID("eni")
	}
	at := s.subnetIn(r, n.Zone)
	n.Zone, n.SubnetID, n.Tags = at.Name, at.id, maps.Clone(n.Tags)
	fill(&n.Status, available)
	r.interfaces.remove(func(other *Interface) bool { return other.ID == n.ID })
	r.interfaces.add(&n)
	return n.clone()
}

// AddSpotRequest makes a spot request as AddVolume makes a volume; it is open unless it says otherwise.
func (s *Sim) AddSpotRequest(q SpotRequest) SpotRequest {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	fill(&q.Region, s.config.Region)
	r := s.regionNamed(q.Region)
	if q.ID == "" {
		q.ID = s.newID("sir")
	}
	fill(&q.State, spotOpen)
	if q.Created.IsZero() {
		q.Created = now
	}
	q.zone, q.Tags = s.subnetIn(r, "").Name, maps.Clone(q.Tags)
	r.spots.remove(func(other *SpotRequest) bool { return other.ID == q.ID })
	r.spots.add(&q)
	return q.clone()
}
