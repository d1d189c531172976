package launch_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// EC2 refuses a subnet, or security groups, of the instance beside interfaces, whoever says which.
func TestTheNetworkIsPlacedInTheInterfacesOfTheTemplate(t *testing.T) {
	t.Parallel()
	described := map[string]string{"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.SecurityGroupId.1": "sg-1", "NetworkInterface.1.AssociatePublicIpAddress": "false"}
	existing := map[string]string{"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.NetworkInterfaceId": "ENI"}
	for name, c := range map[string]struct {
		template map[string]string
		request  string
		flag     bool // --subnet-id
		count    int
		groups   []string
		want     string // in the frozen request
		field    string // that is refused
	}{
		"a subnet by flag":                         {template: described, flag: true, want: `"NetworkInterfaces":[{"AssociatePublicIpAddress":false,"DeviceIndex":0,"Groups":["sg-1"]}]`},
		"a subnet by the request":                  {template: described, request: `, "SubnetId": "SUBNET"`, want: `"SubnetId":"SUBNET"}]`},
		"security groups by flag":                  {template: described, groups: []string{"sg-7"}, want: `"Groups":["sg-7"]`},
		"nothing":                                  {template: described, want: `"ImageId"`},
		"beside an existing interface":             {template: existing, flag: true, field: "LaunchTemplate"},
		"an address beside them":                   {template: described, flag: true, request: `, "PrivateIpAddress": "10.0.0.9"`, field: "PrivateIpAddress"},
		"an address beside them, and nothing else": {template: described, request: `, "PrivateIpAddress": "10.0.0.9"`, field: "PrivateIpAddress"},
		"no IPv6 address beside them":              {template: described, request: `, "Ipv6AddressCount": 0`, field: "Ipv6AddressCount"},
		"groups by name beside them":               {template: described, request: `, "SecurityGroups": ["web"]`, field: "SecurityGroups"},
		"the request's interfaces beside security groups of the template": {
			template: map[string]string{"SecurityGroupId.1": "sg-1"}, request: `, "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-7"]}]`, field: "NetworkInterfaces",
		},
		"a subnet beside the request's own": {
			request: `, "SubnetId": "SUBNET", "NetworkInterfaces": [{"DeviceIndex": 0}]`, field: "SubnetId",
		},
		"a subnet beside an existing one of the request": {
			request: `, "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "ENI"}]`, flag: true, field: "NetworkInterfaces[0].NetworkInterfaceId",
		},
		"one existing interface for two": {
			request: `, "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "ENI"}]`, count: 2, field: "NetworkInterfaces[0].NetworkInterfaceId",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			names := strings.NewReplacer("ENI", w.Sim.AddInterface(ec2sim.Interface{}).ID, "SUBNET", w.Sim.SubnetID(ec2test.ZoneB))
			data := map[string]string{"ImageId": ec2test.Image, "InstanceType": "t3.micro"}
			for key, value := range c.template {
				data[key] = names.Replace(value)
			}
			w.Sim.AddTemplateVersion(ec2test.Region, "web", data)
			r := launch.Request{Token: "job-7", Count: max(c.count, 1), SecurityGroups: c.groups, Skeleton: []byte(names.Replace(
				`{"LaunchTemplate": {"LaunchTemplateName": "web"}` + c.request + `}`))}
			if c.flag {
				r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneB)}
			}
			result, err := w.launcher(t).Launch(t.Context(), r)
			if c.field != "" {
				if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != c.field || w.store.Get("launch", "job-7") != nil {
					t.Errorf("refused for %q, want %q: %v", e.Field, c.field, e)
				}
				return
			}
			if err != nil || !strings.Contains(string(result.Launch.Request), names.Replace(c.want)) {
				t.Fatalf("%v, frozen: %s", err, result.Launch.Request)
			}
			if made := w.made("job-7")[0]; strings.Contains(name, "subnet") && made.Zone != ec2test.ZoneB {
				t.Errorf("zone %s", made.Zone)
			}
		})
	}
}

// A field of a template's interface that the request's does not have would be lost when it is taken over.
func TestEveryFieldOfATemplatesInterfaceCanBeTakenOver(t *testing.T) {
	t.Parallel()
	theirs := reflect.TypeFor[types.LaunchTemplateInstanceNetworkInterfaceSpecification]()
	ours := reflect.TypeFor[types.InstanceNetworkInterfaceSpecification]()
	for field := range theirs.Fields() {
		if _, there := ours.FieldByName(field.Name); !there {
			t.Errorf("%s has no location in a request", field.Name)
		}
	}
}
