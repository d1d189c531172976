package ec2sim

import (
	"maps"
	"slices"
	"strconv"
)

type reservation struct {
	ID        string            `xml:"reservationId"`
	Owner     string            `xml:"ownerId"`
	Groups    set[string]       `xml:"groupSet"`
	Instances set[instanceItem] `xml:"instancesSet"`
}

type runAnswer struct {
	head
	reservation
}

type instancesAnswer struct {
	head
	Reservations set[reservation] `xml:"reservationSet"`
	Next         string           `xml:"nextToken,omitempty"`
}

type stateItem struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

// instanceItem is an instance in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html
type instanceItem struct {
	ID          string            `xml:"instanceId"`
	Image       string            `xml:"imageId"`
	State       stateItem         `xml:"instanceState"`
	PrivateDNS  string            `xml:"privateDnsName"`
	Reason      string            `xml:"reason"`
	ReasonCode  string            `xml:"stateReason>code,omitempty"`
	ReasonText  string            `xml:"stateReason>message,omitempty"`
	KeyName     string            `xml:"keyName,omitempty"`
	LaunchIndex int               `xml:"amiLaunchIndex"`
	Type        string            `xml:"instanceType"`
	LaunchTime  string            `xml:"launchTime"`
	Zone        string            `xml:"placement>availabilityZone"`
	ZoneID      string            `xml:"placement>availabilityZoneId"`
	Tenancy     string            `xml:"placement>tenancy"`
	Monitoring  string            `xml:"monitoring>state"`
	Subnet      string            `xml:"subnetId,omitempty"`
	VPC         string            `xml:"vpcId,omitempty"`
	PrivateIP   string            `xml:"privateIpAddress,omitempty"`
	Arch        string            `xml:"architecture"`
	RootType    string            `xml:"rootDeviceType"`
	RootName    string            `xml:"rootDeviceName"`
	Disks       set[attachedDisk] `xml:"blockDeviceMapping"`
	Lifecycle   string            `xml:"instanceLifecycle,omitempty"`
	Spot        string            `xml:"spotInstanceRequestId,omitempty"`
	Operator    *operatorItem     `xml:"operator,omitempty"`
	Virtual     string            `xml:"virtualizationType"`
	Token       string            `xml:"clientToken"`
	Tags        set[tagItem]      `xml:"tagSet"`
	Hypervisor  string            `xml:"hypervisor"`
	Interfaces  set[instancePort] `xml:"networkInterfaceSet"`
	Metadata    metadataItem      `xml:"metadataOptions"`
}

type attachedDisk struct {
	Device   string `xml:"deviceName"`
	Volume   string `xml:"ebs>volumeId"`
	Status   string `xml:"ebs>status"`
	Attached string `xml:"ebs>attachTime"`
	Delete   bool   `xml:"ebs>deleteOnTermination"`
}

// operatorItem is the service that manages an instance:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_OperatorResponse.html
type operatorItem struct {
	Managed   bool   `xml:"managed"`
	Principal string `xml:"principal,omitempty"`
}

type metadataItem struct {
	State    string `xml:"state"`
	Tokens   string `xml:"httpTokens"`
	HopLimit int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
	Tags     string `xml:"instanceMetadataTags"`
}

// item shows an instance. One that has ended has no address any more.
func (s *Sim) item(r *region, i *Instance) instanceItem {
	x := instanceItem{
		ID: i.ID, Image: i.ImageID, State: stateItem{i.State.code(), string(i.State)}, Reason: i.reason, KeyName: i.KeyName,
		Type: i.Type, LaunchTime: checkpoint(i.LaunchTime), Zone: i.Zone, ZoneID: i.ZoneID, Tenancy: "default",
		Monitoring: "disabled", Arch: "x86_64", RootType: "ebs", RootName: rootDevice, Virtual: "hvm", Hypervisor: "xen",
		Token: i.ClientToken, Tags: tagSet(i.Tags), Spot: i.SpotRequest,
		Metadata: metadataItem{"applied", i.Metadata.HTTPTokens, i.Metadata.HopLimit, i.Metadata.HTTPEndpoint, i.Metadata.InstanceTags},
	}
	if i.SpotRequest != "" {
		x.Lifecycle = "spot"
	}
	if i.Operator != "" {
		x.Operator = &operatorItem{true, i.Operator}
	}
	if i.reason != "" {
		x.ReasonCode, x.ReasonText = "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"
	}
	if i.State != Terminated {
		x.Subnet, x.VPC, x.PrivateIP = i.SubnetID, r.vpc, i.PrivateIP
	}
	for _, id := range i.Volumes {
		if v, ok := r.volumes.get(id); ok {
			x.Disks.Items = append(x.Disks.Items, attachedDisk{v.Device, v.ID, "attached", checkpoint(v.Created), v.DeleteOnTermination})
		}
	}
	for _, id := range i.Interfaces {
		if n, ok := r.interfaces.get(id); ok {
			x.Interfaces.Items = append(x.Interfaces.Items, s.instancePort(r, n))
		}
	}
	return x
}

// tagSet shows tags in the order of their keys.
func tagSet(tags map[string]string) set[tagItem] {
	var items set[tagItem]
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		items.Items = append(items.Items, tagItem{key, tags[key]})
	}
	return items
}

// instanceFields are the filters that DescribeInstances knows, out of the many
// that EC2 does.
func instanceFields() fields[*Instance] {
	return fields[*Instance]{
		"instance-id":              func(i *Instance) string { return i.ID },
		"instance-state-name":      func(i *Instance) string { return string(i.State) },
		"instance-type":            func(i *Instance) string { return i.Type },
		"client-token":             func(i *Instance) string { return i.ClientToken },
		"availability-zone":        func(i *Instance) string { return i.Zone },
		"availability-zone-id":     func(i *Instance) string { return i.ZoneID },
		"image-id":                 func(i *Instance) string { return i.ImageID },
		"key-name":                 func(i *Instance) string { return i.KeyName },
		"reservation-id":           func(i *Instance) string { return i.Reservation },
		"subnet-id":                func(i *Instance) string { return i.SubnetID },
		"spot-instance-request-id": func(i *Instance) string { return i.SpotRequest },
		"metadata-options.http-put-response-hop-limit": func(i *Instance) string { return strconv.Itoa(i.Metadata.HopLimit) },
	}
}

func (s *Sim) instanceLookup(q *request) describe[*Instance] {
	return describe[*Instance]{
		table: &q.region.instances, idParam: "InstanceId", prefix: "i",
		notFound: "InvalidInstanceID.NotFound", malformed: "InvalidInstanceID.Malformed",
		known: instanceFields(), tags: func(i *Instance) *map[string]string { return &i.Tags },
		shown:   func(i *Instance) (*Instance, bool) { return s.shown(i, q.now) },
		unheard: func(i *Instance) bool { return q.now.Before(i.known) }, unfiltered: s.config.Quirks.IgnoresFilters,
	}
}

// describeInstances lists instances. A page counts instances, not
// reservations, so a reservation can span two pages.
func (s *Sim) describeInstances(q *request) (body, error) {
	rows, next, err := s.instanceLookup(q).run(q)
	if err != nil {
		return nil, err
	}
	answer := &instancesAnswer{Next: next}
	list := &answer.Reservations.Items
	for _, i := range rows {
		if n := len(*list); n == 0 || (*list)[n-1].ID != i.Reservation {
			*list = append(*list, reservation{ID: i.Reservation, Owner: s.config.Account})
		}
		last := &(*list)[len(*list)-1]
		last.Instances.Items = append(last.Instances.Items, s.item(q.region, i))
	}
	return answer, nil
}
