package ec2sim

import (
	"net/url"
	"slices"
	"strconv"
	"time"
)

// template is a launch template. Version n is versions[n-1].
type template struct {
	id, name string
	latest   int // the number of the last version
	standard int // the number of the default version
	versions []templateVersion
}

type templateVersion struct {
	data    url.Values
	created time.Time
}

func (t *template) key() string { return t.id }

// templateNamed finds a launch template the way EC2 does, by id or by name:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateSpecification.html
func (r *region) templateNamed(id, name string) (*template, error) {
	if id != "" {
		if !wellFormed("lt", id) {
			return nil, refusal("InvalidLaunchTemplateId.Malformed", "The launch template ID '%s' is malformed", id)
		}
		if t, ok := r.templates.get(id); ok {
			return t, nil
		}
		return nil, refusal("InvalidLaunchTemplateId.NotFound", "The specified launch template, with ID %s, does not exist.", id)
	}
	for _, t := range r.templates.all() {
		if t.name == name {
			return t, nil
		}
	}
	return nil, refusal("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with name %s, does not exist.", name)
}

// number returns the number of a version given as $Latest, $Default, nothing
// (which is $Default) or a number.
func (t *template) number(version string) (int, error) {
	switch version {
	case "", "$Default":
		return t.standard, nil
	case "$Latest":
		return t.latest, nil
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < 1 || n > t.latest {
		return 0, refusal("InvalidLaunchTemplateId.VersionNotFound",
			"Could not find the specified version %s for the launch template with ID %s.", version, t.id)
	}
	return n, nil
}

type templateVersionsAnswer struct {
	head
	Versions set[templateVersionItem] `xml:"launchTemplateVersionSet"`
}

// templateVersionItem is a version in an answer, with the data that a launcher
// may want to freeze:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ResponseLaunchTemplateData.html
type templateVersionItem struct {
	ID       string       `xml:"launchTemplateId"`
	Name     string       `xml:"launchTemplateName"`
	Number   int          `xml:"versionNumber"`
	Default  bool         `xml:"defaultVersion"`
	Created  string       `xml:"createTime"`
	Image    string       `xml:"launchTemplateData>imageId,omitempty"`
	Type     string       `xml:"launchTemplateData>instanceType,omitempty"`
	KeyName  string       `xml:"launchTemplateData>keyName,omitempty"`
	UserData string       `xml:"launchTemplateData>userData,omitempty"`
	Shutdown string       `xml:"launchTemplateData>instanceInitiatedShutdownBehavior,omitempty"`
	Keep     string       `xml:"launchTemplateData>disableApiTermination,omitempty"`
	Market   string       `xml:"launchTemplateData>instanceMarketOptions>marketType,omitempty"`
	SpotType string       `xml:"launchTemplateData>instanceMarketOptions>spotOptions>spotInstanceType,omitempty"`
	Tokens   string       `xml:"launchTemplateData>metadataOptions>httpTokens,omitempty"`
	HopLimit string       `xml:"launchTemplateData>metadataOptions>httpPutResponseHopLimit,omitempty"`
	Endpoint string       `xml:"launchTemplateData>metadataOptions>httpEndpoint,omitempty"`
	IPv6     string       `xml:"launchTemplateData>metadataOptions>httpProtocolIpv6,omitempty"`
	TagsThen string       `xml:"launchTemplateData>metadataOptions>instanceMetadataTags,omitempty"`
	NoStop   string       `xml:"launchTemplateData>disableApiStop,omitempty"`
	Operator string       `xml:"launchTemplateData>operator>principal,omitempty"`
	Tags     set[tagSpec] `xml:"launchTemplateData>tagSpecificationSet"`

	Interfaces set[templatePort] `xml:"launchTemplateData>networkInterfaceSet"`
	GroupIDs   []string          `xml:"launchTemplateData>securityGroupIdSet>item"`
	GroupNames []string          `xml:"launchTemplateData>securityGroupSet>item"`
}

// templatePort is a network interface in a version:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateInstanceNetworkInterfaceSpecification.html
type templatePort struct {
	ID      string   `xml:"networkInterfaceId,omitempty"`
	Index   string   `xml:"deviceIndex,omitempty"`
	Card    string   `xml:"networkCardIndex,omitempty"`
	Subnet  string   `xml:"subnetId,omitempty"`
	Public  string   `xml:"associatePublicIpAddress,omitempty"`
	Delete  string   `xml:"deleteOnTermination,omitempty"`
	Kind    string   `xml:"interfaceType,omitempty"`
	IPv6    string   `xml:"ipv6AddressCount,omitempty"`
	Private string   `xml:"privateIpAddress,omitempty"`
	Groups  []string `xml:"groupSet>groupId"`
}

type tagSpec struct {
	Kind string       `xml:"resourceType"`
	Tags set[tagItem] `xml:"tagSet"`
}

// describeTemplateVersions lists versions of one template, all or those named:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html
func (s *Sim) describeTemplateVersions(q *request) (body, error) {
	id, name := q.str("LaunchTemplateId"), q.str("LaunchTemplateName")
	if id == "" && name == "" {
		q.need("LaunchTemplateId")
	}
	resolve := q.bool("ResolveAlias", false)
	if q.err != nil {
		return nil, q.err
	}
	t, err := q.region.templateNamed(id, name)
	if err != nil {
		return nil, err
	}
	q.touch(t.id)
	var numbers []int
	for _, version := range q.list("LaunchTemplateVersion") {
		n, err := t.number(version)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	for n := t.latest; n > 0 && !q.form.Has("LaunchTemplateVersion.1"); n-- {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	answer := new(templateVersionsAnswer)
	for _, n := range slices.Backward(slices.Compact(numbers)) {
		item, err := s.versionItem(t, n, resolve)
		if err != nil {
			return nil, err
		}
		answer.Versions.Items = append(answer.Versions.Items, item)
	}
	return answer, nil
}

func (s *Sim) versionItem(t *template, n int, resolve bool) (templateVersionItem, error) {
	v := t.versions[n-1]
	p := &params{form: v.data}
	x := templateVersionItem{
		ID: t.id, Name: t.name, Number: n, Default: n == t.standard, Created: checkpoint(v.created),
		Image: p.str("ImageId"), Type: p.str("InstanceType"), KeyName: p.str("KeyName"), UserData: p.str("UserData"),
		Shutdown: p.str("InstanceInitiatedShutdownBehavior"), Keep: p.str("DisableApiTermination"),
		Market: p.str("InstanceMarketOptions.MarketType"), SpotType: p.str("InstanceMarketOptions.SpotOptions.SpotInstanceType"),
		Tokens: p.str("MetadataOptions.HttpTokens"), HopLimit: p.str("MetadataOptions.HttpPutResponseHopLimit"),
		Endpoint: p.str("MetadataOptions.HttpEndpoint"), IPv6: p.str("MetadataOptions.HttpProtocolIpv6"),
		TagsThen: p.str("MetadataOptions.InstanceMetadataTags"),
		NoStop:   p.str("DisableApiStop"), Operator: p.str("Operator.Principal"),
		GroupIDs: p.list("SecurityGroupId"), GroupNames: p.list("SecurityGroup"),
	}
	for _, n := range p.structs("NetworkInterface") {
		x.Interfaces.Items = append(x.Interfaces.Items, templatePort{
			ID: p.str(n + "NetworkInterfaceId"), Index: p.str(n + "DeviceIndex"), Card: p.str(n + "NetworkCardIndex"),
			Subnet: p.str(n + "SubnetId"), Public: p.str(n + "AssociatePublicIpAddress"), Delete: p.str(n + "DeleteOnTermination"),
			Kind: p.str(n + "InterfaceType"), IPv6: p.str(n + "Ipv6AddressCount"), Private: p.str(n + "PrivateIpAddress"),
			Groups: p.list(n + "SecurityGroupId"),
		})
	}
	for _, prefix := range p.structs("TagSpecification") {
		x.Tags.Items = append(x.Tags.Items, tagSpec{p.str(prefix + "ResourceType"), tagSet(p.tags(prefix + "Tag"))})
	}
	var err error
	if resolve {
		x.Image, err = s.image(x.Image)
	}
	return x, err
}
