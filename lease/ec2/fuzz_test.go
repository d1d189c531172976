package ec2_test

import (
	"testing"

	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2test"
)

// FuzzListing: any answer to DescribeInstances is a listing in which each instance is once, or an error.
func FuzzListing(f *testing.F) {
	item := `<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState><name>running</name></instanceState>` +
		`<tagSet><item><key>lapse:registry</key><value>u</value></item><item/></tagSet><blockDeviceMapping><item><ebs><deleteOnTermination>false</deleteOnTermination></ebs></item></blockDeviceMapping>` +
		`<networkInterfaceSet><item><attachment/></item></networkInterfaceSet></item><item/></instancesSet></item></reservationSet>`
	for _, body := range []string{
		"<DescribeInstancesResponse>" + item + "</DescribeInstancesResponse>", "<a>" + item + item + "<nextToken>x</nextToken></a>", "<a><nextToken/></a>", "", "<a>",
	} {
		f.Add(body)
	}
	endpoint := &ec2test.Answering{}
	cloud := ec2.Believing(endpoint.AWS())
	f.Fuzz(func(t *testing.T, body string) {
		endpoint.Body.Store(&body)
		listing, err := cloud.List(t.Context())
		if err != nil {
			if listing.Instances != nil {
				t.Fatalf("%q: %+v beside %v", body, listing, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, i := range listing.Instances {
			if seen[i.ID] || i.Location != cloud.Location() || i.Tags == nil {
				t.Fatalf("%q: %+v", body, i)
			}
			seen[i.ID] = true
		}
	})
}
