package ec2sim

import (
	"cmp"
	"maps"
)

// AddVolume makes a volume that no launch made: a copy of tags, another's, one that EC2 left behind. What v leaves empty
// is filled in: available, in the first zone of the Sim's region, made now. A volume of that id is replaced.
func (s *Sim) AddVolume(v Volume) Volume {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	v.Region = cmp.Or(v.Region, s.config.Region)
	r := s.regionNamed(v.Region)
	if v.ID == "" {
		v.ID = s.newID("vol")
	}
	v.Zone = s.subnetIn(r, v.Zone).Name
	v.State = cmp.Or(v.State, available)
	v.SizeGB = cmp.Or(v.SizeGB, 8)
	v.Created = cmp.Or(v.Created, now)
	v.Tags = maps.Clone(v.Tags)
	r.volumes.add(&v)
	return v.clone()
}

// AddInterface makes an interface as AddVolume makes a volume.
func (s *Sim) AddInterface(n Interface) Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Region = cmp.Or(n.Region, s.config.Region)
	r := s.regionNamed(n.Region)
	if n.ID == "" {
		n.ID = s.newID("eni")
	}
	at := s.subnetIn(r, n.Zone)
	n.Zone, n.SubnetID, n.Tags = at.Name, at.id, maps.Clone(n.Tags)
	n.Status = cmp.Or(n.Status, available)
	r.interfaces.add(&n)
	return n.clone()
}

// AddSpotRequest makes a spot request as AddVolume makes a volume; it is open unless it says otherwise.
func (s *Sim) AddSpotRequest(q SpotRequest) SpotRequest {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	q.Region = cmp.Or(q.Region, s.config.Region)
	r := s.regionNamed(q.Region)
	if q.ID == "" {
		q.ID = s.newID("sir")
	}
	q.State = cmp.Or(q.State, spotOpen)
	q.Created = cmp.Or(q.Created, now)
	q.zone, q.Tags = s.subnetIn(r, "").Name, maps.Clone(q.Tags)
	r.spots.add(&q)
	return q.clone()
}
