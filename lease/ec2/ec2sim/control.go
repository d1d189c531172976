package ec2sim

import (
	"cmp"
	"maps"
	"net/url"
	"time"
)

// Create makes an instance that nobody launched: with foreign tags, a copied
// tag, another's client token. What i leaves empty is filled in: running, in
// the first zone of the Sim's region, launched now, with a root volume and an
// interface. i's ids of volumes and interfaces are not looked at. An instance
// of that id is replaced. A region or zone that does not exist is made, and the
// zone has no id.
func (s *Sim) Create(i Instance) Instance {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	i = i.clone()
	i.Region = cmp.Or(i.Region, s.config.Region)
	r := s.regionNamed(i.Region)
	at := s.subnetIn(r, i.Zone)
	i.Zone, i.ZoneID, i.SubnetID = at.Name, at.ID, at.id
	if i.ID == "" {
		i.ID = s.newID("i")
	}
	if i.Reservation == "" {
		i.Reservation = s.newID("r")
	}
	i.ImageID = cmp.Or(i.ImageID, "ami-00000000000000001")
	i.Type = cmp.Or(i.Type, "t3.micro")
	i.ShutdownBehavior = cmp.Or(i.ShutdownBehavior, "stop")
	i.Metadata.HTTPTokens = cmp.Or(i.Metadata.HTTPTokens, "optional")
	i.Metadata.HTTPEndpoint = cmp.Or(i.Metadata.HTTPEndpoint, "enabled")
	i.Metadata.InstanceTags = cmp.Or(i.Metadata.InstanceTags, "disabled")
	i.State = cmp.Or(i.State, Running)
	i.LaunchTime = cmp.Or(i.LaunchTime, now.Truncate(time.Second))
	i.Volumes, i.Interfaces = nil, nil
	s.install(r, &i, []disk{{device: rootDevice, sizeGB: 8}}, []port{{}}, now)
	return i.clone()
}

// SetState puts an instance into a state, in which it stays until it is told
// to move by another SetState or by an action that moves it; a terminated one
// is forgotten in its time. It reports whether there is such an instance.
func (s *Sim) SetState(id string, state State) bool {
	now := s.config.Now()
	return s.with(id, func(r *region, i *Instance) {
		s.enter(r, i, state, now)
		i.pinned = state != Terminated
	})
}

// SetLaunchTime moves the launch time of an instance, as a stop and a start do.
func (s *Sim) SetLaunchTime(id string, to time.Time) bool {
	return s.with(id, func(_ *region, i *Instance) { i.LaunchTime = to })
}

// SetQuirks changes what it does otherwise than EC2.
func (s *Sim) SetQuirks(q Quirks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Quirks = q
}

// Protect turns an instance's termination protection on or off. It reports
// whether there is such an instance.
func (s *Sim) Protect(id string, on bool) bool {
	return s.with(id, func(_ *region, i *Instance) { i.Protected = on })
}

// SetTags replaces an instance's tags. It reports whether there is such an
// instance.
func (s *Sim) SetTags(id string, tags map[string]string) bool {
	now := s.config.Now()
	return s.with(id, func(_ *region, i *Instance) {
		s.remember(i, now)
		i.Tags = maps.Clone(tags)
	})
}

// with calls do with an instance, and reports whether there is one of that id.
func (s *Sim) with(id string, do func(*region, *Instance)) bool {
	known := false
	s.each(func(r *region) {
		if i, ok := r.instances.get(id); ok {
			do(r, i)
			known = true
		}
	})
	return known
}

// SetCapacity says how many more instances of a type can be launched in a
// zone; no end of them if n is negative. Instances that end give nothing back.
func (s *Sim) SetCapacity(region, zone, instanceType string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regionNamed(region)
	r.capacity[slot{zone, instanceType}] = n
	if n < 0 {
		delete(r.capacity, slot{zone, instanceType})
	}
}

// SetOffered says whether a zone has instances of a type at all, as it has
// unless told otherwise. Where it has none, launches are refused as
// Unsupported; where the launch names no zone, the others serve it.
func (s *Sim) SetOffered(region, zone, instanceType string, offered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regionNamed(region).withheld[slot{zone, instanceType}] = !offered
}

// SubnetID returns the id of a zone's subnet, or "" if there is no such zone.
func (s *Sim) SubnetID(zone string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.regions {
		if n := r.subnetOf(func(n subnet) bool { return n.Name == zone }); n != nil {
			return n.id
		}
	}
	return ""
}

// AddTemplateVersion adds a version to a region's launch template, which it
// makes if there is none of that name; its first version is the default one.
// data holds RunInstances parameters by their names in the query protocol,
// such as ImageId or TagSpecification.1.ResourceType. It returns the
// template's id and the version's number.
func (s *Sim) AddTemplateVersion(region, name string, data map[string]string) (id string, version int) {
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regionNamed(region)
	t, err := r.templateNamed("", name)
	if err != nil {
		t = &template{id: s.newID("lt"), name: name, standard: 1}
		r.templates.add(t)
	}
	values := url.Values{}
	for key, value := range data {
		values.Set(key, value)
	}
	t.versions = append(t.versions, templateVersion{values, now})
	t.latest++
	return t.id, t.latest
}

// SetDefaultVersion makes a version of a region's template its default one.
// It reports whether there is such a version.
func (s *Sim) SetDefaultVersion(region, name string, version int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[region]
	if r == nil {
		return false
	}
	t, err := r.templateNamed("", name)
	if err != nil || version < 1 || version > t.latest {
		return false
	}
	t.standard = version
	return true
}
