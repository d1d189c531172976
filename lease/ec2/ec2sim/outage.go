package ec2sim

import (
	"net/url"
	"slices"
	"strings"
)

// Outage makes a zone's instances unreachable until end is called: all calls that name one of them, and all listings of
// the region's instances, are refused as Unavailable, and launches into the zone for lack of capacity. The instances
// themselves keep running, and calls that name only others are served.
func (s *Sim) Outage(region, zone string) (end func()) {
	s.mu.Lock()
	r := s.regionNamed(region)
	at := s.subnetIn(r, zone)
	s.mu.Unlock()
	calls := s.Inject(Fault{
		Region: region, Effect: Refuse, Code: "Unavailable",
		Match: func(form url.Values) bool { return r.reaches(form, zone) },
	})
	launches := s.Inject(Fault{
		Region: region, Action: "RunInstances", Effect: Refuse, Code: "InsufficientInstanceCapacity",
		Match: func(form url.Values) bool {
			return slices.Contains([]string{form.Get("SubnetId"), form.Get("NetworkInterface.1.SubnetId")}, at.id) ||
				form.Get("Placement.AvailabilityZone") == zone
		},
	})
	return func() { calls(); launches() }
}

// reaches reports whether a call is about instances of a zone: those it names,
// or, in a listing that names none, all.
func (r *region) reaches(form url.Values, zone string) bool {
	p := &params{form: form}
	ids := slices.Concat(p.list("InstanceId"), p.list("ResourceId"), []string{form.Get("InstanceId")})
	listing := form.Get("Action") == "DescribeInstances"
	for _, f := range p.structs("Filter") {
		if p.str(f+"Name") == "instance-id" {
			ids = append(ids, p.list(f+"Value")...)
		}
	}
	named := false
	for _, id := range ids {
		named = named || strings.HasPrefix(id, "i-")
		if i, ok := r.instances.get(id); ok && i.Zone == zone {
			return true
		}
	}
	return listing && !named
}
