package ec2sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Sim is one simulated account. It is an http.Handler and safe for use by many
// goroutines. Close it to release the calls that hang.
type Sim struct {
	config  Config
	actions map[string]action
	closed  chan struct{}
	closing sync.Once
	signers signers // of identity documents

	mu      sync.Mutex // guards all below, and serializes deeds
	regions map[string]*region
	serial  uint64
	faults  []*injected
	calls   []Call
	pages   int                                     // answered so far, where Config.PageSizes counts them
	mayTag  func(borne, set map[string]string) bool // nil: all may

	staleFor  time.Duration // how old DescribeInstances is
	remembers time.Duration // how old it can become
}

// New returns an account with no instances.
func New(c Config) *Sim {
	s := &Sim{config: c.withDefaults(), closed: make(chan struct{}), regions: make(map[string]*region)}
	s.actions = s.actionTable()
	s.staleFor, s.remembers = s.config.StaleFor, s.config.StaleFor
	for name, zones := range s.config.Regions {
		s.regions[name] = s.newRegion(name, zones)
	}
	return s
}

// Close drops the connections of the calls that hang. Sim goes on answering
// others; hangs injected later end at once.
func (s *Sim) Close() { s.closing.Do(func() { close(s.closed) }) }

// region is what EC2 keeps in one region.
type region struct {
	name       string
	vpc        string
	subnets    []subnet
	instances  table[*Instance]
	volumes    table[*Volume]
	interfaces table[*Interface]
	spots      table[*SpotRequest]
	fleets     table[*Fleet]
	templates  table[*template]
	keyPairs   table[*KeyPair]
	launches   map[launchKey]*launch
	capacity   map[slot]int
	withheld   map[slot]bool // types that a zone does not offer
	buckets    map[bucketKey]*rate.Limiter
	due        time.Time // when the next state change is due; zero if none is
	littered   bool      // some rows are only there to be removed
}

// subnet is the one subnet of a zone.
type subnet struct {
	Zone
	id string
}

// slot is what capacity is counted by.
type slot struct{ zone, instanceType string }

// newRegion makes a region; one without zones gets one that has no id.
func (s *Sim) newRegion(name string, zones []Zone) *region {
	r := &region{
		name: name, vpc: s.newID("vpc"),
		launches: make(map[launchKey]*launch), buckets: make(map[bucketKey]*rate.Limiter),
		capacity: make(map[slot]int), withheld: make(map[slot]bool),
	}
	for _, name := range s.config.KeyPairs {
		r.keyPairs.add(&KeyPair{ID: s.newID("key"), Name: name, Region: r.name, Created: s.config.Now()})
	}
	if len(zones) == 0 {
		zones = []Zone{{Name: name + "a"}}
	}
	for _, z := range zones {
		r.subnets = append(r.subnets, subnet{z, s.newID("subnet")})
	}
	return r
}

// subnetOf returns the first subnet that matches, or nil.
func (r *region) subnetOf(match func(subnet) bool) *subnet {
	if i := slices.IndexFunc(r.subnets, match); i >= 0 {
		return &r.subnets[i]
	}
	return nil
}

// regionNamed returns a region, which is made, with one zone that has no id,
// if there is none of that name.
func (s *Sim) regionNamed(name string) *region {
	if s.regions[name] == nil {
		s.regions[name] = s.newRegion(name, nil)
	}
	return s.regions[name]
}

// subnetIn returns the subnet of a zone, which is made, without an id, if
// there is none of that name. No name means the first zone.
func (s *Sim) subnetIn(r *region, zone string) subnet {
	if n := r.subnetOf(func(n subnet) bool { return zone == "" || n.Name == zone }); n != nil {
		return *n
	}
	r.subnets = append(r.subnets, subnet{Zone{Name: zone}, s.newID("subnet")})
	return r.subnets[len(r.subnets)-1]
}

// newID returns an id that this Sim has never given out, in the long form:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
// The serial is multiplied by an odd number, which maps no two to the same id.
func (s *Sim) newID(prefix string) string {
	const scatter = 0x9E3779B97F4A7C15
	s.serial++
	return fmt.Sprintf("%s-0%016x", prefix, s.serial*scatter)
}

// wellFormed reports whether id is prefix and 8 or 17 hexadecimal digits.
func wellFormed(prefix, id string) bool {
	if len(id) != len(prefix)+9 && len(id) != len(prefix)+18 {
		return false
	}
	if id[:len(prefix)+1] != prefix+"-" {
		return false
	}
	for _, c := range id[len(prefix)+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
