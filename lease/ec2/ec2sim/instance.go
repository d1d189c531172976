package ec2sim

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Instance is one instance as EC2 knows it.
type Instance struct {
	ID          string
	Reservation string
	Region      string
	Zone        string
	ZoneID      string
	SubnetID    string
	ImageID     string
	Type        string
	KeyName     string
	ClientToken string
	State       State
	LaunchTime  time.Time // whole seconds; moves at every start
	Tags        map[string]string
	Volumes     []string // ids of the attached volumes, the root first
	Interfaces  []string
	SpotRequest string // empty unless it is a spot instance
	Operator    string // the AWS service that manages it; empty if none does
	Protected   bool   // DisableApiTermination
	Unstoppable bool   // DisableApiStop, which protects from termination too
	// ShutdownBehavior is stop or terminate.
	ShutdownBehavior string
	Metadata         MetadataOptions
	PrivateIP        string
	UserData         string // base64, as it was sent

	reason    string    // of the last state change
	since     time.Time // when the state was entered
	pinned    bool      // stays in its state until told otherwise
	forgotten bool
	past      []past    // for stale reads, oldest first
	known     time.Time // from when calls that name it are understood
}

// MetadataOptions says how an instance's metadata service answers.
type MetadataOptions struct {
	HTTPTokens   string // required (IMDSv2 only) or optional
	HTTPEndpoint string // enabled or disabled
	HopLimit     int
	InstanceTags string // enabled or disabled
}

func (i *Instance) key() string { return i.ID }

// clone returns a copy that shares nothing with i.
func (i *Instance) clone() Instance {
	c := *i
	c.past = nil
	c.Tags = maps.Clone(i.Tags)
	c.Volumes = slices.Clone(i.Volumes)
	c.Interfaces = slices.Clone(i.Interfaces)
	return c
}

// disk is a volume to be made with an instance.
type disk struct {
	device string
	sizeGB int
	keep   bool // stays when the instance is terminated
	tags   map[string]string
}

const rootDevice = "/dev/xvda"

// install adds an instance, which has its region and zone, with its volumes
// and its interfaces, and puts it into its state.
func (s *Sim) install(r *region, i *Instance, disks []disk, ports []port, now time.Time) {
	i.PrivateIP = s.newAddress()
	for _, d := range disks {
		v := &Volume{
			ID: s.newID("vol"), Region: r.name, Zone: i.Zone, SizeGB: d.sizeGB, State: inUse, Instance: i.ID,
			Device: d.device, DeleteOnTermination: !d.keep, Tags: maps.Clone(d.tags), Created: now,
		}
		r.volumes.add(v)
		i.Volumes = append(i.Volumes, v.ID)
	}
	for _, p := range ports {
		s.plug(r, i, p, now)
	}
	r.instances.add(i)
	s.enter(r, i, i.State, now)
}

// newAddress returns a private address, different for the first 16 million.
func (s *Sim) newAddress() string {
	s.serial++
	return fmt.Sprintf("10.%d.%d.%d", s.serial>>16&0xff, s.serial>>8&0xff, s.serial&0xff)
}
