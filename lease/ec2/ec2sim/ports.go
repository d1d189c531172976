package ec2sim

import (
	"maps"
	"slices"
	"time"
)

// port is a network interface that a launch makes, or attaches.
type port struct {
	id   string // of one that is there already; empty: it is made
	keep bool
	tags map[string]string
}

// readPorts reads the network interfaces. A request that describes none gets one.
func (q *request) readPorts(o *order, tags map[string]string) {
	described := q.structs("NetworkInterface")
	for _, n := range described {
		o.ports = append(o.ports, port{id: q.str(n + "NetworkInterfaceId"), keep: !q.bool(n+"DeleteOnTermination", true), tags: tags})
	}
	if len(described) == 0 {
		o.ports = []port{{tags: tags}}
		return
	}
	for _, beside := range []struct{ parameter, named string }{
		{"SubnetId", "subnet ID"},
		{"SecurityGroupId.1", "security groups"},
		{"SecurityGroup.1", "security groups"},
		{"PrivateIpAddress", "private IP address"},
		{"Ipv6AddressCount", "IPv6 address count"},
		{"Ipv6Address.1.Ipv6Address", "IPv6 addresses"},
	} {
		if q.form.Has(beside.parameter) {
			q.fail("InvalidParameterCombination",
				"Network interfaces and an instance-level %s may not be specified on the same request", beside.named)
		}
	}
}

// attaches reports whether a port is there already.
func (p port) attaches() bool { return p.id != "" }

// checkPorts refuses the interfaces that cannot be attached, and takes the subnet from those that can.
func (q *request) checkPorts(o *order) {
	for _, p := range o.ports {
		if !p.attaches() {
			continue
		}
		n, ok := q.region.interfaces.get(p.id)
		switch {
		case !ok:
			q.fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", p.id)
			return
		case o.most > 1:
			q.fail("InvalidParameterCombination", "Interface: '%s' cannot be attached to more than one instance", p.id)
		case n.Status != available && q.region.launches[launchKey{o.token, n.Zone}] == nil:
			q.fail("InvalidNetworkInterface.InUse", "Interface: '%s' in use.", p.id)
		}
		o.subnet = q.region.subnetOf(func(s subnet) bool { return s.id == n.SubnetID })
	}
}

// checkTags refuses tags for what the launch does not make, in EC2's words.
func (q *request) checkTags(o *order, tags map[string]map[string]string) {
	if tags["network-interface"] != nil && !slices.ContainsFunc(o.ports, func(p port) bool { return !p.attaches() }) {
		q.fail("InvalidParameterValue",
			"You cannot specify tags for network interfaces if there are no network interfaces being created by the request.")
	}
	if tags["spot-instances-request"] != nil && !o.spot {
		q.fail("InvalidParameterValue",
			"You cannot specify tags for Spot instances requests if there are no Spot instances requests being created by the request.")
	}
}

// plug makes an interface for an instance, or attaches one.
func (s *Sim) plug(r *region, i *Instance, p port, now time.Time) {
	n, there := r.interfaces.get(p.id)
	if !there {
		n = &Interface{ID: s.newID("eni"), Region: r.name, Zone: i.Zone, SubnetID: i.SubnetID, Tags: maps.Clone(p.tags), PrivateIP: i.PrivateIP}
		r.interfaces.add(n)
	}
	n.Status, n.Instance, n.attached = inUse, i.ID, now
	n.DeleteOnTermination = !p.keep && !p.attaches()
	i.Interfaces = append(i.Interfaces, n.ID)
}
