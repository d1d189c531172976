package ec2sim

import (
	"maps"
	"time"
)

// Interface is one elastic network interface.
type Interface struct {
	ID                  string
	Region              string
	Zone                string
	SubnetID            string
	Status              string // in-use or available
	Instance            string // the instance it is attached to, or empty
	PrivateIP           string
	DeleteOnTermination bool
	RequesterManaged    bool // an AWS service made it
	Tags                map[string]string

	attached time.Time
}

func (n *Interface) key() string { return n.ID }

func (n *Interface) clone() Interface {
	c := *n
	c.Tags = maps.Clone(n.Tags)
	return c
}

type interfacesAnswer struct {
	head
	Interfaces set[interfaceItem] `xml:"networkInterfaceSet"`
	Next       string             `xml:"nextToken,omitempty"`
}

// interfaceItem is an interface in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkInterface.html
type interfaceItem struct {
	ID         string               `xml:"networkInterfaceId"`
	Subnet     string               `xml:"subnetId"`
	VPC        string               `xml:"vpcId"`
	Zone       string               `xml:"availabilityZone"`
	Owner      string               `xml:"ownerId"`
	Status     string               `xml:"status"`
	PrivateIP  string               `xml:"privateIpAddress"`
	Attachment *interfaceAttachment `xml:"attachment"`
	Managed    bool                 `xml:"requesterManaged"`
	Tags       set[tagItem]         `xml:"tagSet"`
}

type interfaceAttachment struct {
	ID       string `xml:"attachmentId"`
	Instance string `xml:"instanceId"`
	Index    int    `xml:"deviceIndex"`
	Status   string `xml:"status"`
	Attached string `xml:"attachTime"`
	Delete   bool   `xml:"deleteOnTermination"`
}

// instancePort is an interface in the description of its instance, which says
// less of it:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceNetworkInterface.html
type instancePort struct {
	ID         string `xml:"networkInterfaceId"`
	Subnet     string `xml:"subnetId"`
	VPC        string `xml:"vpcId"`
	Owner      string `xml:"ownerId"`
	Status     string `xml:"status"`
	PrivateIP  string `xml:"privateIpAddress"`
	Attachment string `xml:"attachment>attachmentId"`
	Index      int    `xml:"attachment>deviceIndex"`
	Attached   string `xml:"attachment>attachTime"`
	State      string `xml:"attachment>status"`
	Delete     bool   `xml:"attachment>deleteOnTermination"`
}

func (s *Sim) instancePort(r *region, n *Interface) instancePort {
	return instancePort{
		ID: n.ID, Subnet: n.SubnetID, VPC: r.vpc, Owner: s.config.Account, Status: n.Status, PrivateIP: n.PrivateIP,
		Attachment: n.attachment(), Attached: checkpoint(n.attached), State: "attached", Delete: n.DeleteOnTermination,
	}
}

// attachment is the id of its being attached.
func (n *Interface) attachment() string { return "eni-attach" + n.ID[len("eni"):] }

func (s *Sim) interfaceItem(r *region, n *Interface) interfaceItem {
	x := interfaceItem{
		ID: n.ID, Subnet: n.SubnetID, VPC: r.vpc, Zone: n.Zone, Owner: s.config.Account, Status: n.Status,
		PrivateIP: n.PrivateIP, Managed: n.RequesterManaged, Tags: tagSet(n.Tags),
	}
	if n.Instance != "" {
		x.Attachment = &interfaceAttachment{
			n.attachment(), n.Instance, 0, "attached", checkpoint(n.attached), n.DeleteOnTermination,
		}
	}
	return x
}

func (s *Sim) interfaceLookup(r *region) describe[*Interface] {
	return describe[*Interface]{
		unfiltered: s.config.Quirks.IgnoresFilters,
		table:      &r.interfaces, idParam: "NetworkInterfaceId", prefix: "eni",
		notFound: "InvalidNetworkInterfaceID.NotFound", malformed: "InvalidNetworkInterfaceId.Malformed",
		tags: func(n *Interface) *map[string]string { return &n.Tags },
		known: fields[*Interface]{
			"network-interface-id":   func(n *Interface) string { return n.ID },
			"status":                 func(n *Interface) string { return n.Status },
			"subnet-id":              func(n *Interface) string { return n.SubnetID },
			"availability-zone":      func(n *Interface) string { return n.Zone },
			"attachment.instance-id": func(n *Interface) string { return n.Instance },
		},
	}
}

func (s *Sim) describeInterfaces(q *request) (body, error) {
	rows, next, err := s.interfaceLookup(q.region).run(q)
	interfaces := setOf(rows, func(n *Interface) interfaceItem { return s.interfaceItem(q.region, n) })
	return &interfacesAnswer{Interfaces: interfaces, Next: next}, err
}

// deleteInterface deletes an interface that is attached to nothing. EC2 says
// InvalidNetworkInterface.InUse of others, or sometimes InvalidParameterValue:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func (s *Sim) deleteInterface(q *request) (body, error) {
	return s.interfaceLookup(q.region).discard(q, func(n *Interface) error {
		if n.Status == available {
			return nil
		}
		return refusal("InvalidNetworkInterface.InUse", "Network interface '%s' is currently in use.", n.ID)
	})
}
