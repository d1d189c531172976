package lease

import (
	"strings"
	"time"
)

// Tags of Lapse. All but the last are set in the creating call; a leader keeps [TagExpires] and [TagLeased] current. An instance is managed if its registry tag *equals* the registry's UUID;
// presence says nothing.
const (
	TagPrefix   = "lapse:"
	TagRegistry = "lapse:registry" // UUID of the registry
	TagLaunch   = "lapse:launch"   // client token of the attempt
	TagHolder   = "lapse:holder"   // for recovery only
	TagExpires  = "lapse:expires"  // the agreed date, or none, with its number: see [Expiry]
	TagLeased   = "lapse:leased"   // empty at creation; set once a leader saw an active lease: see [Instance.Leased]
	TagExempt   = "lapse:exempt"   // whatever its value: never ended, always reported
)

// Location is one account and region.
type Location struct {
	Account string `json:"account"`
	Region  string `json:"region"`
}

// String prints the location as "123456789012/eu-west-1".
func (p Location) String() string { return p.Account + "/" + p.Region }

// InstanceState is the state that EC2 gives an instance.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
type InstanceState string

// States of an instance.
const (
	InstancePending      InstanceState = "pending"
	InstanceRunning      InstanceState = "running"
	InstanceStopping     InstanceState = "stopping"
	InstanceStopped      InstanceState = "stopped"
	InstanceShuttingDown InstanceState = "shutting-down"
	InstanceTerminated   InstanceState = "terminated"
)

// Instance is what EC2 says of one instance.
type Instance struct {
	ID          string
	Location    Location
	Zone        string
	ZoneID      string // empty where the endpoint knows none
	State       InstanceState
	LaunchTime  time.Time // moves at every start: may spare an instance, never condemn one
	Existed     time.Time // the earliest time at which it is known to have been there
	ClientToken string
	KeyName     string   // of the key pair that it was launched with
	Spot        string   // id of its spot request; empty for on-demand
	Operator    string   // the AWS service that manages it, and that alone can terminate it; empty if none does
	Addresses   []string // its own, private, public and IPv6; only of a description by id
	Attached    []string // ids of the volumes and interfaces that are attached to it
	Outlive     []string // those of its volumes and interfaces that are not deleted when it is terminated
	Tags        map[string]string
}

// ManagedBy reports whether the instance bears the registry's tag by value.
func (i Instance) ManagedBy(uuid string) bool { return uuid != "" && i.Tags[TagRegistry] == uuid }

// Exempt reports whether the instance bears the tag that forbids terminating it, whatever its value.
func (i Instance) Exempt() bool {
	_, exempt := i.Tags[TagExempt]
	return exempt
}

// BearsLapse reports whether the instance bears any tag of Lapse, whosever.
func (i Instance) BearsLapse() bool {
	for key := range i.Tags {
		if strings.HasPrefix(key, TagPrefix) {
			return true
		}
	}
	return false
}

// Alive reports whether the instance is neither terminated nor on its way there.
func (i Instance) Alive() bool {
	return i.State != InstanceTerminated && i.State != InstanceShuttingDown
}

// ZoneKey is the zone by which instances are grouped: the zone id, which means the same in every account, or the
// zone's name where there is no id.
func (i Instance) ZoneKey() string {
	if i.ZoneID != "" {
		return i.ZoneID
	}
	return i.Zone
}

// Listing is one complete answer of EC2 about a location.
type Listing struct {
	Instances []Instance
	// Skew is how far our wall clock was ahead of EC2's Date at the round trip's midpoint; Dated reports whether the
	// answer carried a Date at all.
	Skew  time.Duration
	Dated bool
}
