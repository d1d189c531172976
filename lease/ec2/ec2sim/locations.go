package ec2sim

import "slices"

type zonesAnswer struct {
	head
	Zones set[zoneItem] `xml:"availabilityZoneInfo"`
}

type zoneItem struct {
	Name   string `xml:"zoneName"`
	ID     string `xml:"zoneId"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	Type   string `xml:"zoneType"`
	OptIn  string `xml:"optInStatus"`
}

// describeZones lists the region's zones, or those named:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAvailabilityZones.html
func (s *Sim) describeZones(q *request) (body, error) {
	names, ids := q.list("ZoneName"), q.list("ZoneId")
	answer := new(zonesAnswer)
	for _, n := range q.region.subnets {
		if len(names)+len(ids) == 0 || slices.Contains(names, n.Name) || slices.Contains(ids, n.ID) {
			answer.Zones.Items = append(answer.Zones.Items, zoneItem{
				n.Name, n.ID, "available", q.region.name, "availability-zone", "opt-in-not-required",
			})
		}
	}
	if len(answer.Zones.Items) < len(names)+len(ids) {
		return nil, refusal("InvalidParameterValue", "Invalid availability zone: %v", append(names, ids...))
	}
	return answer, nil
}

type regionsAnswer struct {
	head
	Regions set[regionItem] `xml:"regionInfo"`
}

type regionItem struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

// describeRegions lists the account's regions, or those named:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRegions.html
func (s *Sim) describeRegions(q *request) (body, error) {
	names := q.list("RegionName")
	answer := new(regionsAnswer)
	for _, name := range s.regionNames() {
		if len(names) == 0 || slices.Contains(names, name) {
			answer.Regions.Items = append(answer.Regions.Items, regionItem{
				name, "ec2." + name + ".amazonaws.com", "opt-in-not-required",
			})
		}
	}
	if len(answer.Regions.Items) < len(names) {
		return nil, refusal("InvalidParameterValue", "Invalid region in %v", names)
	}
	return answer, nil
}

type imagesAnswer struct {
	head
	Images set[imageItem] `xml:"imagesSet"`
}

type imageItem struct {
	ID       string `xml:"imageId"`
	State    string `xml:"imageState"`
	Owner    string `xml:"imageOwnerId"`
	Arch     string `xml:"architecture"`
	Type     string `xml:"imageType"`
	Name     string `xml:"name"`
	RootType string `xml:"rootDeviceType"`
	RootName string `xml:"rootDeviceName"`
	Virtual  string `xml:"virtualizationType"`
}

// describeImages shows the images asked for: all of them exist.
func (s *Sim) describeImages(q *request) (body, error) {
	answer := new(imagesAnswer)
	for _, id := range q.list("ImageId") {
		if !wellFormed("ami", id) {
			return nil, refusal("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
		}
		answer.Images.Items = append(answer.Images.Items, imageItem{
			id, "available", s.config.Account, "x86_64", "machine", id, "ebs", rootDevice, "hvm",
		})
	}
	return answer, nil
}
