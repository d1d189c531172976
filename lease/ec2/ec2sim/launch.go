package ec2sim

import (
	"maps"
	"math"
	"time"
)

// launchKey is what makes a launch the same launch. A client token counts
// once for each zone that a request names, and once for all requests that
// name none; only within one of these is a difference a mismatch:
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
type launchKey struct{ token, zone string }

// launch is what a client token has launched. It is kept as long as this Sim lives; EC2 does not say how long it keeps
// one.
type launch struct {
	canonical   string
	reservation string
	instances   []*Instance
}

// runInstances makes instances, or shows those that its client token made.
func (s *Sim) runInstances(q *request) (body, error) {
	if err := s.mergeTemplate(q); err != nil {
		return nil, err
	}
	o, err := s.readOrder(q)
	if err != nil {
		return nil, err
	}
	key := launchKey{token: o.token}
	if o.subnet != nil {
		key.zone = o.subnet.Name
	}
	l := q.region.launches[key]
	if s.config.Quirks.IgnoresClientToken {
		l = nil
	}
	if l != nil && l.canonical != o.canonical {
		return nil, refusal("IdempotentParameterMismatch",
			"The client token '%s' was used before, with other parameters", o.token)
	}
	if name := o.instance.KeyName; l == nil && name != "" && q.region.keyPairNamed(name) == nil {
		q.fail("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
	}
	if err := q.dryRun(); err != nil {
		return nil, err
	}
	if l == nil {
		if l, err = s.launch(q.region, o, q.now); err != nil {
			return nil, err
		}
		if o.token != "" {
			q.region.launches[key] = l
		}
	}
	answer := &runAnswer{reservation: reservation{ID: l.reservation, Owner: s.config.Account}}
	for _, i := range l.instances {
		q.touch(i.ID)
		answer.Instances.Items = append(answer.Instances.Items, s.item(q.region, i))
	}
	return answer, nil
}

// launch makes as many instances as there is room for, or none if that is
// fewer than the least asked for.
func (s *Sim) launch(r *region, o order, now time.Time) (*launch, error) {
	at, offered := r.roomiest(o)
	if !offered {
		return nil, refusal("Unsupported",
			"Your requested instance type (%s) is not supported in your requested Availability Zone (%s).", o.instance.Type, at.Name)
	}
	count := min(o.most, r.room(at, o.instance.Type))
	if count < o.least {
		return nil, refusal("InsufficientInstanceCapacity",
			"We currently do not have sufficient %s capacity in the Availability Zone you requested (%s).",
			o.instance.Type, at.Name)
	}
	r.occupy(at, o.instance.Type, count)
	l := &launch{canonical: o.canonical, reservation: s.newID("r")}
	for range count {
		i := o.instance
		i.ID, i.Reservation, i.ClientToken = s.newID("i"), l.reservation, o.token
		i.Zone, i.ZoneID, i.SubnetID = at.Name, at.ID, at.id
		i.LaunchTime, i.Tags = now.Truncate(time.Second), maps.Clone(i.Tags)
		if s.config.Quirks.HidesClientToken {
			i.ClientToken = ""
		}
		if o.spot {
			i.SpotRequest = s.requestSpot(r, &i, o.spotTags, now)
		}
		s.install(r, &i, o.disks, o.ports, now)
		i.known = now.Add(s.config.UnknownFor)
		if s.remembers > 0 {
			i.past = []past{{until: now}}
		}
		l.instances = append(l.instances, &i)
	}
	return l, nil
}

// room returns how many instances of a type can still be launched in a zone.
func (r *region) room(at subnet, instanceType string) int {
	if n, limited := r.capacity[slot{at.Name, instanceType}]; limited {
		return n
	}
	return math.MaxInt
}

func (r *region) occupy(at subnet, instanceType string, n int) {
	if k := (slot{at.Name, instanceType}); r.room(at, instanceType) != math.MaxInt {
		r.capacity[k] -= n
	}
}

// roomiest returns the subnet that was asked for, or else the first of those
// with the most room, and whether it has the type at all.
func (r *region) roomiest(o order) (at subnet, offered bool) {
	has := func(n subnet) bool { return !r.withheld[slot{n.Name, o.instance.Type}] }
	if o.subnet != nil {
		return *o.subnet, has(*o.subnet)
	}
	best := r.subnets[0]
	for _, n := range r.subnets[1:] {
		if has(n) && (!has(best) || r.room(n, o.instance.Type) > r.room(best, o.instance.Type)) {
			best = n
		}
	}
	return best, has(best)
}
