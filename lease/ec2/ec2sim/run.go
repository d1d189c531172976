package ec2sim

import (
	"net/url"
	"strings"
)

// order is a RunInstances request, read and found good.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
type order struct {
	least, most int
	token       string
	subnet      *subnet // nil: any
	instance    Instance
	disks       []disk
	ports       []port
	spot        bool
	spotTags    map[string]string
	canonical   string // what must be the same where the token is
}

// readOrder reads a request whose launch template was already merged in.
func (s *Sim) readOrder(q *request) (order, error) {
	tags := q.tagSpecifications("instance", "volume", "network-interface", "spot-instances-request")
	if s.config.Quirks.DropsTags {
		clear(tags)
	}
	o := order{
		token:    q.str("ClientToken"),
		spot:     q.oneOf("InstanceMarketOptions.MarketType", "", "spot") == "spot",
		spotTags: tags["spot-instances-request"],
		instance: Instance{
			Region: q.region.name, ImageID: q.need("ImageId"), Type: q.str("InstanceType"), KeyName: q.str("KeyName"),
			State: Pending, Tags: tags["instance"], Protected: q.bool("DisableApiTermination", false),
			Unstoppable:      q.bool("DisableApiStop", false),
			ShutdownBehavior: q.oneOf("InstanceInitiatedShutdownBehavior", "stop", "terminate"),
			UserData:         q.str("UserData"),
			Metadata: MetadataOptions{
				HTTPTokens:   q.oneOf("MetadataOptions.HttpTokens", "optional", "required"),
				HTTPEndpoint: q.oneOf("MetadataOptions.HttpEndpoint", "enabled", "disabled"),
				InstanceTags: q.oneOf("MetadataOptions.InstanceMetadataTags", "disabled", "enabled"),
				HopLimit:     q.int("MetadataOptions.HttpPutResponseHopLimit", 1),
			},
		},
	}
	if o.instance.Type == "" {
		o.instance.Type = "m1.small"
	}
	q.readCount(&o)
	q.readPorts(&o, tags["network-interface"])
	q.readPlacement(&o)
	q.checkPorts(&o)
	q.checkTags(&o, tags)
	q.readDisks(&o, tags["volume"])
	q.checkOrder(o)
	o.canonical = canonical(q.form)
	return o, q.err
}

func (q *request) readCount(o *order) {
	q.need("MinCount")
	q.need("MaxCount")
	o.least, o.most = q.int("MinCount", 0), q.int("MaxCount", 0)
	if o.least < 1 || o.most < o.least {
		q.fail("InvalidParameterValue", "Values (%d, %d) for parameters MinCount, MaxCount are invalid.", o.least, o.most)
	}
}

// readPlacement finds the subnet that the request asks for, directly or by
// its zone. A zone's subnet is its default one.
func (q *request) readPlacement(o *order) {
	id := q.str("SubnetId")
	if inner := q.str("NetworkInterface.1.SubnetId"); inner != "" {
		id = inner
	}
	if id != "" {
		if o.subnet = q.region.subnetOf(func(n subnet) bool { return n.id == id }); o.subnet == nil {
			q.fail("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
		}
	}
	zone, zoneID := q.str("Placement.AvailabilityZone"), q.str("Placement.AvailabilityZoneId")
	if zone == "" && zoneID == "" {
		return
	}
	named := q.region.subnetOf(func(n subnet) bool {
		return (zone == "" || n.Name == zone) && (zoneID == "" || n.ID == zoneID)
	})
	switch {
	case named == nil:
		q.fail("InvalidParameterValue", "Invalid availability zone: [%s%s]", zone, zoneID)
	case o.subnet != nil && o.subnet.id != named.id:
		q.fail("InvalidParameterValue", "The availability zone '%s' does not match that of the subnet", named.Name)
	}
	o.subnet = named
}

// readDisks reads the block devices. Volumes made with an instance go with it
// unless DeleteOnTermination is false; the root volume is always made.
func (q *request) readDisks(o *order, tags map[string]string) {
	o.disks = []disk{{device: rootDevice, sizeGB: 8, tags: tags}}
	for _, m := range q.structs("BlockDeviceMapping") {
		d := disk{
			device: q.need(m + "DeviceName"), sizeGB: q.int(m+"Ebs.VolumeSize", 8),
			keep: !q.bool(m+"Ebs.DeleteOnTermination", true), tags: tags,
		}
		switch {
		case d.sizeGB < 1:
			q.fail("InvalidParameterValue", "Volume of %d GiB is too small", d.sizeGB)
		case d.device == rootDevice:
			o.disks[0] = d
		case q.form.Has(m + "NoDevice"):
		default:
			o.disks = append(o.disks, d)
		}
	}
}

// checkOrder refuses what EC2 refuses by its form.
func (q *request) checkOrder(o order) {
	i := o.instance
	if i.ImageID != "" && !wellFormed("ami", i.ImageID) {
		q.fail("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", i.ImageID)
	}
	if family, size, _ := strings.Cut(i.Type, "."); family == "" || size == "" {
		q.fail("InvalidParameterValue", "Invalid value '%s' for InstanceType.", i.Type)
	}
	if len(o.token) > 64 {
		q.fail("InvalidClientToken", "The client token is longer than 64 characters")
	}
}

// canonical writes down what a request asks for.
func canonical(form url.Values) string {
	asked := url.Values{}
	for name, values := range form {
		switch name {
		case "Action", "Version", "ClientToken", "DryRun":
		default:
			asked[name] = values
		}
	}
	return asked.Encode()
}
