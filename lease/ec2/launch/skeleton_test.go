package launch_test

import (
	"testing"

	"lapse/lease/ec2/ec2sim"
)

// What means something is frozen as it stands; what a skeleton leaves where nothing was filled in is not.
func TestZerosThatMeanSomethingAreKeptAndPlaceholdersAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	for name, c := range map[string]struct{ asked, same string }{
		"no IPv6 address":                 {`{"Ipv6AddressCount": 0}`, ``},
		"no IPv6 address of an interface": {`{"NetworkInterfaces": [{"DeviceIndex": 0, "Ipv6AddressCount": 0}]}`, ``},
		"an interface by its zeros alone": {`{"NetworkInterfaces": [{"Ipv6AddressCount": 0}]}`, ``},
		"zero and false":                  {`{"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkCardIndex": 0, "AssociatePublicIpAddress": false}]}`, ``},
		"zero written otherwise":          {`{"NetworkInterfaces": [{"DeviceIndex": -0}]}`, `{"NetworkInterfaces": [{"DeviceIndex": 0}]}`},
		"a zero that EC2 does not take":   {`{"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 9, "Iops": 0}}]}`, `{"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 9}}]}`},
		"an object not filled in":         {`{"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"EbsCardIndex": 0, "SnapshotId": ""}}]}`, `{"BlockDeviceMappings": [{"DeviceName": "/dev/sdb"}]}`},
		"all of it not filled in":         {`{"Ipv6AddressCount": 0, "KeyName": ""}`, `{}`},
		"nothing of it but null":          {`{"Placement": {"GroupName": null}, "KeyName": null}`, `{}`},
	} {
		digest := func(skeleton string) string {
			r := w.request("", 1)
			r.Skeleton = []byte(skeleton)
			plan, err := w.launcher(t).DryRun(t.Context(), r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return plan.Launch.Asked
		}
		asked, nothing := digest(c.asked), digest(`{}`)
		switch {
		case c.same == "" && asked == nothing:
			t.Errorf("%s: %s is dropped", name, c.asked)
		case c.same != "" && asked != digest(c.same):
			t.Errorf("%s: %s is not %s", name, c.asked, c.same)
		}
	}
}
