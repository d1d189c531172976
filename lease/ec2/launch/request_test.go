package launch_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

func TestRequestsAreRefusedByTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	l := w.launcher(t)
	for name, c := range map[string]struct {
		skeleton string
		change   func(*launch.Request)
		field    string
	}{
		"not JSON":               {skeleton: `{`},
		"more than one value":    {skeleton: `{} {}`},
		"a list":                 {skeleton: `[1]`},
		"unknown field":          {skeleton: `{"ImageID": "ami-1"}`, field: "ImageID"},
		"unknown field inside":   {skeleton: `{"BlockDeviceMappings": [{"Ebs": {"VolumSize": 8}}]}`, field: "BlockDeviceMappings[0].Ebs.VolumSize"},
		"unexported field":       {skeleton: `{"noSmithyDocumentSerde": {"a": 1}}`, field: "noSmithyDocumentSerde"},
		"number for a string":    {skeleton: `{"KeyName": 5}`, field: "KeyName"},
		"string for a number":    {skeleton: `{"Ipv6AddressCount": "two"}`, field: "Ipv6AddressCount"},
		"fraction for a number":  {skeleton: `{"Ipv6AddressCount": 1.5}`, field: "Ipv6AddressCount"},
		"object for a list":      {skeleton: `{"SecurityGroupIds": {"a": "b"}}`, field: "SecurityGroupIds"},
		"list for an object":     {skeleton: `{"Placement": ["x"]}`, field: "Placement"},
		"client token":           {skeleton: `{"ClientToken": "mine"}`, field: "ClientToken"},
		"termination protection": {skeleton: `{"DisableApiTermination": true}`, field: "DisableApiTermination"},
		"stop protection":        {skeleton: `{"DisableApiStop": true}`, field: "DisableApiStop"},
		"operated by a service":  {skeleton: `{"Operator": {"Principal": "service.example.com"}}`, field: "Operator.Principal"},
		"persistent spot request": {
			skeleton: `{"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent"}}}`,
			field:    "InstanceMarketOptions.SpotOptions.SpotInstanceType",
		},
		"a tag of ours":             {change: func(r *launch.Request) { r.Tags = map[string]string{lease.TagRegistry: ec2test.UUID} }, field: "tag lapse:registry"},
		"a tag of ours, in the CLI": {skeleton: `{"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "lapse:launch", "Value": "x"}]}]}`, field: "tag lapse:launch"},
		"no image":                  {change: func(r *launch.Request) { r.ImageID = "" }},
		"no type":                   {change: func(r *launch.Request) { r.InstanceTypes = nil }},
	} {
		r := w.request("job-7", 1)
		r.Skeleton = []byte(c.skeleton)
		if c.change != nil {
			c.change(&r)
		}
		_, err := l.Launch(t.Context(), r)
		if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != c.field {
			t.Errorf("%s: field %q, want %q: %v", name, e.Field, c.field, e)
		}
	}
	if len(w.Sim.Calls()) != 1 { // whose the credentials are
		t.Errorf("calls = %+v", w.Sim.Calls())
	}
}

func TestAnUnfilledSkeletonSetsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 0)
	r.Term, r.MaxTerm = 0, 0 // no date that moves on between the two
	r.Skeleton = []byte(`{
		"BlockDeviceMappings": [{"Ebs": {"Iops": 0, "SnapshotId": "", "VolumeSize": 0}, "NoDevice": "", "DeviceName": "", "VirtualName": ""}],
		"ImageId": "", "Ipv6AddressCount": 0, "Ipv6Addresses": [{"Ipv6Address": ""}], "KeyName": "", "MaxCount": 0, "MinCount": 0,
		"SecurityGroupIds": [""], "SubnetId": "", "UserData": "", "ClientToken": "", "PrivateIpAddress": null,
		"TagSpecifications": [{"ResourceType": "image-usage-report", "Tags": [{"Key": "", "Value": ""}]}],
		"LaunchTemplate": {"LaunchTemplateId": "", "LaunchTemplateName": "", "Version": ""},
		"InstanceMarketOptions": {"SpotOptions": {"ValidUntil": "1970-01-01T00:00:00"}}
	}`)
	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil || len(result.Leases) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	plain := w.request("job-8", 1)
	plain.Term, plain.MaxTerm = 0, 0
	other, err := w.launcher(t).Launch(t.Context(), plain)
	if err != nil || other.Launch.Asked != result.Launch.Asked || string(other.Launch.Request) != string(result.Launch.Request) {
		t.Errorf("asked %s as %s; without the skeleton %s, %v", result.Launch.Asked, result.Launch.Request, other.Launch.Request, err)
	}
}

func TestDryRunOfANewSkeletonIsIgnoredWithAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	var warnings []string
	config := quick()
	config.Progress = func(e launch.Event) {
		if e.Kind == launch.EventWarning {
			warnings = append(warnings, e.Text)
		}
	}
	l := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config)
	r := w.request("job-7", 1)
	r.Skeleton = []byte(`{"DryRun": true}`)
	result, err := l.Launch(t.Context(), r)
	if err != nil || len(w.made("job-7")) != 1 || strings.Contains(string(result.Launch.Request), "DryRun") {
		t.Errorf("%v, request %s", err, result.Launch.Request)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "DryRun in the request is ignored") {
		t.Errorf("warnings %q", warnings)
	}
	r.Skeleton = nil
	if again, err := l.Launch(t.Context(), r); err != nil || !again.Resumed {
		t.Errorf("the same without DryRun: resumed %t, %v", again.Resumed, err)
	}
}

func TestFieldsOverrideTheSkeleton(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 0)
	r.ImageID, r.InstanceTypes, r.Subnets = "", nil, nil
	r.Skeleton = []byte(`{
		"ImageId": "ami-00000000000000002", "InstanceType": "c5.large", "SubnetId": "` + w.Sim.SubnetID(ec2test.ZoneB) + `",
		"MinCount": 1, "MaxCount": 2, "DryRun": false, "MetadataOptions": {"HttpTokens": "optional", "HttpPutResponseHopLimit": 2},
		"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "NoDevice": ""}, {"DeviceName": "/dev/sdc", "Ebs": {"VolumeSize": 9, "DeleteOnTermination": false}}]
	}`)
	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil || len(result.Leases) != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, i := range w.made("job-7") {
		if i.ImageID != "ami-00000000000000002" || i.Type != "c5.large" || i.Zone != ec2test.ZoneB || i.Metadata.HTTPTokens != "required" ||
			i.Metadata.HopLimit != 2 || len(i.Volumes) != 2 {
			t.Errorf("instance = %+v", i)
		}
	}

	r.Token, r.Count, r.ImageID, r.InstanceTypes, r.Subnets = "job-8", 1, ec2test.Image, []string{"t3.micro"}, []string{w.Sim.SubnetID(ec2test.ZoneA)}
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	made := w.made("job-8")
	if len(made) != 1 || made[0].ImageID != ec2test.Image || made[0].Type != "t3.micro" || made[0].Zone != ec2test.ZoneA {
		t.Errorf("instances = %+v", made)
	}
}

func TestASubnetGoesIntoTheInterfaceThatIsDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneB)}
	r.Skeleton = []byte(`{"NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": true}]}`)
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if made := w.made("job-7"); made[0].Zone != ec2test.ZoneB {
		t.Errorf("zone %s", made[0].Zone)
	}
	if !strings.Contains(string(w.stored(t, "job-7").Request), `"DeviceIndex":0`) {
		t.Error("device number 0 was dropped")
	}
}

func TestExemptIsTheOneTagOfOursThatMayBeGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.Tags[lease.TagExempt] = "a pet"
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil || w.made("job-7")[0].Tags[lease.TagExempt] != "a pet" {
		t.Errorf("%v, %v", w.made("job-7"), err)
	}
}

func TestTheMetadataServiceIsOneHopAwayUnlessSomebodySaysOtherwise(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.AddTemplateVersion(ec2test.Region, "hops", map[string]string{"MetadataOptions.HttpPutResponseHopLimit": "3"})
	for token, c := range map[string]struct {
		skeleton string
		want     any
	}{
		"plain":    {`{}`, 1.0},
		"said":     {`{"MetadataOptions": {"HttpPutResponseHopLimit": 2}}`, 2.0},
		"template": {`{"LaunchTemplate": {"LaunchTemplateName": "hops"}}`, 3.0},
	} {
		r := w.request(token, 1)
		r.Skeleton = []byte(c.skeleton)
		result, err := w.launcher(t).Launch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var frozen struct{ MetadataOptions map[string]any }
		if err := json.Unmarshal(result.Launch.Request, &frozen); err != nil {
			t.Fatal(err)
		}
		if got := frozen.MetadataOptions["HttpPutResponseHopLimit"]; got != c.want {
			t.Errorf("%s: %v hops, want %v", token, got, c.want)
		}
	}
}

func TestTheFrozenRequestIsInTheCLIsForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.Skeleton = []byte(`{"UserData": "#!/bin/sh", "EbsOptimized": false}`)
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Stage: ec2sim.BeforeDeed, Effect: ec2sim.Drop})
	r.Patience = 1
	if _, err := w.launcher(t).Launch(t.Context(), r); err == nil {
		t.Fatal("launched, although no call reaches EC2")
	}
	open, err := w.store.Launch(t.Context(), "job-7")
	if err != nil {
		t.Fatal(err)
	}
	var frozen map[string]any
	if err := json.Unmarshal(open.Request, &frozen); err != nil {
		t.Fatal(err)
	}
	if frozen["UserData"] != "#!/bin/sh" || frozen["EbsOptimized"] != false || frozen["ImageId"] != ec2test.Image || frozen["ClientToken"] != nil {
		t.Errorf("frozen = %v", frozen)
	}
}
