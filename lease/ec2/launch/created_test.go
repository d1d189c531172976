package launch_test

import (
	"strings"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// EC2 refuses tags for what a call does not create, and creates what the request, the flags or the template say.
func TestOnlyResourcesTheCallCreatesAreTagged(t *testing.T) {
	t.Parallel()
	const (
		attached = `"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "ENI"}]`
		spot     = `"InstanceMarketOptions": {"MarketType": "spot"}`
		tagged   = `"TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "a", "Value": "b"}]},
			{"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]}]`
	)
	for name, c := range map[string]struct {
		request  string
		template map[string]string
		port     bool // an interface is created
		spot     bool
		warnings int
	}{
		"no word of interfaces":            {request: `{}`, port: true},
		"one that is described":            {request: `{"NetworkInterfaces": [{"DeviceIndex": 0}]}`, port: true},
		"one that exists":                  {request: `{` + attached + `}`},
		"one that exists, and tags for it": {request: `{` + attached + `, ` + tagged + `}`, warnings: 2},
		"one that exists and one that is described": {
			request: `{"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "ENI"}, {"DeviceIndex": 1}]}`, port: true,
		},
		"spot":                             {request: `{` + spot + `}`, port: true, spot: true},
		"spot, and one that exists":        {request: `{` + spot + `, ` + attached + `}`, spot: true},
		"tags for a spot request":          {request: `{` + tagged + `}`, port: true, warnings: 1},
		"one that exists, by the template": {template: map[string]string{"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.NetworkInterfaceId": "ENI"}},
		"one that exists by the template, and the request describes one": {
			template: map[string]string{"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.NetworkInterfaceId": "ENI"},
			request:  `{"NetworkInterfaces": [{"DeviceIndex": 0}]}`, port: true,
		},
		"one that is described by the template, and the request attaches one": {
			template: map[string]string{"NetworkInterface.1.DeviceIndex": "0"}, request: `{` + attached + `}`,
		},
		"spot, by the template": {template: map[string]string{"InstanceMarketOptions.MarketType": "spot"}, port: true, spot: true},
		"tags for a spot request, by the template": {template: map[string]string{
			"TagSpecification.1.ResourceType": "spot-instances-request", "TagSpecification.1.Tag.1.Key": "a", "TagSpecification.1.Tag.1.Value": "b",
		}, port: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			eni := w.Sim.AddInterface(ec2sim.Interface{Region: ec2test.Region, Zone: ec2test.ZoneA})
			r := w.request("job-7", 1)
			r.Subnets = nil
			r.Skeleton = []byte(strings.ReplaceAll(c.request, "ENI", eni.ID))
			if c.template != nil {
				data := map[string]string{"ImageId": ec2test.Image, "InstanceType": "t3.micro"}
				for key, value := range c.template {
					data[key] = strings.ReplaceAll(value, "ENI", eni.ID)
				}
				w.Sim.AddTemplateVersion(ec2test.Region, "web", data)
				inside := ""
				if c.request != "" {
					inside = ", " + strings.TrimSuffix(strings.TrimPrefix(string(r.Skeleton), "{"), "}")
				}
				r.Skeleton = []byte(`{"LaunchTemplate": {"LaunchTemplateName": "web"}` + inside + `}`)
			}
			l, warnings := w.warned(t)
			if _, err := l.Launch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			ours := func(tags map[string]string) bool {
				return tags[lease.TagRegistry] == ec2test.UUID && tags[lease.TagLaunch] == "job-7.1" && tags["Name"] == "worker"
			}
			for _, n := range w.Sim.Interfaces() {
				if ours(n.Tags) == (n.ID == eni.ID) {
					t.Errorf("interface %s (there before: %t): tags %v", n.ID, n.ID == eni.ID, n.Tags)
				}
			}
			for _, v := range w.Sim.Volumes() {
				if !ours(v.Tags) {
					t.Errorf("volume: tags %v", v.Tags)
				}
			}
			requests := w.Sim.SpotRequests()
			if made := len(w.Sim.Interfaces()) > 1; made != c.port || (len(requests) > 0) != c.spot {
				t.Errorf("an interface was made: %t; %d spot requests", made, len(requests))
			}
			for _, q := range requests {
				if !ours(q.Tags) {
					t.Errorf("spot request: tags %v", q.Tags)
				}
			}
			if len(*warnings) != c.warnings {
				t.Errorf("warnings %q", *warnings)
			}
		})
	}
}

// warned is a launcher, and what it warns of.
func (w world) warned(t *testing.T) (*launch.Launcher, *[]string) {
	t.Helper()
	warnings := &[]string{}
	config := quick()
	config.Progress = func(e launch.Event) {
		if e.Kind == launch.EventWarning {
			*warnings = append(*warnings, e.Text)
		}
	}
	return launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config), warnings
}
