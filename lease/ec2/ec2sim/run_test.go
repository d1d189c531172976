package ec2sim_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

func TestRunInstancesReturnsTheRequest(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, ec2sim.Config{Now: c.Now})
	out, err := w.ec2.RunInstances(t.Context(), order(count(2, 2), token("tok.1"), zone("us-east-1b"),
		tagged(types.ResourceTypeInstance, "lapse:registry", "r1"), tagged(types.ResourceTypeVolume, "v", "1"),
		tagged(types.ResourceTypeNetworkInterface, "n", "1"),
		func(in *ec2.RunInstancesInput) {
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired}
			in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
			in.UserData = aws.String("aGVsbG8=")
		}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out.Instances); n != 2 {
		t.Fatalf("%d instances, want 2", n)
	}
	for _, made := range out.Instances {
		if made.State.Name != types.InstanceStateNamePending {
			t.Errorf("answered as %s, want pending", made.State.Name)
		}
	}
	i := w.one(t, *out.Instances[1].InstanceId)
	switch {
	case i.State.Name != types.InstanceStateNameRunning || *i.State.Code != 16:
		t.Errorf("state %v", i.State)
	case *i.ClientToken != "tok.1" || !i.LaunchTime.Equal(c.Now()):
		t.Errorf("token %q, launched %v", *i.ClientToken, i.LaunchTime)
	case *i.Placement.AvailabilityZone != "us-east-1b" || *i.Placement.AvailabilityZoneId != "use1-az2":
		t.Errorf("placement %+v", i.Placement)
	case *i.SubnetId != w.SubnetID("us-east-1b") || *i.VpcId == "" || *i.PrivateIpAddress == "":
		t.Errorf("network %v %v %v", i.SubnetId, i.VpcId, i.PrivateIpAddress)
	case i.MetadataOptions.HttpTokens != types.HttpTokensStateRequired:
		t.Errorf("metadata options %+v", i.MetadataOptions)
	case len(i.Tags) != 1 || *i.Tags[0].Key != "lapse:registry" || *i.Tags[0].Value != "r1":
		t.Errorf("tags %v", i.Tags)
	case len(i.BlockDeviceMappings) != 1 || !*i.BlockDeviceMappings[0].Ebs.DeleteOnTermination:
		t.Errorf("block devices %+v", i.BlockDeviceMappings)
	case len(i.NetworkInterfaces) != 1 || *i.NetworkInterfaces[0].NetworkInterfaceId == "":
		t.Errorf("interfaces %+v", i.NetworkInterfaces)
	case i.SpotInstanceRequestId != nil || i.InstanceLifecycle != "":
		t.Errorf("looks like a spot instance: %v %v", i.SpotInstanceRequestId, i.InstanceLifecycle)
	}
	seen, _ := w.Instance(*i.InstanceId)
	if seen.ShutdownBehavior != "terminate" || seen.UserData != "aGVsbG8=" || seen.ImageID != image {
		t.Errorf("snapshot %+v", seen)
	}
	for _, v := range w.Volumes() {
		if v.Tags["v"] != "1" || v.Zone != "us-east-1b" {
			t.Errorf("volume %+v", v)
		}
	}
	for _, n := range w.Interfaces() {
		if n.Tags["n"] != "1" {
			t.Errorf("interface %+v", n)
		}
	}
}

// attached puts the instance behind an interface that exists.
func attached(id string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), NetworkInterfaceId: &id}}
	}
}

func TestAnExistingInterfaceIsAttachedAndStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	n := w.AddInterface(ec2sim.Interface{Zone: "us-east-1b"})
	first := w.run(t, attached(n.ID), token("tok.1"))
	if again := w.run(t, attached(n.ID), token("tok.1")); again[0] != first[0] {
		t.Errorf("the same call made %v, and then %v", first, again)
	}
	if i, _ := w.Instance(first[0]); i.Zone != "us-east-1b" || !slices.Equal(i.Interfaces, []string{n.ID}) || len(w.Interfaces()) != 1 {
		t.Errorf("instance %+v, %d interfaces", i, len(w.Interfaces()))
	}
	w.terminate(t, first[0])
	if left := w.Interfaces(); len(left) != 1 || left[0].Status != "available" {
		t.Errorf("left: %+v", left)
	}
}

func TestRunInstancesRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	change := func(f func(*ec2.RunInstancesInput)) func(*ec2.RunInstancesInput) { return f }
	free, used := w.AddInterface(ec2sim.Interface{}).ID, w.AddInterface(ec2sim.Interface{Status: "in-use"}).ID
	for name, c := range map[string]struct {
		code   string
		change func(*ec2.RunInstancesInput)
	}{
		"no image":           {"MissingParameter", change(func(in *ec2.RunInstancesInput) { in.ImageId = nil })},
		"no image id":        {"InvalidAMIID.Malformed", change(func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-x") })},
		"none":               {"InvalidParameterValue", count(0, 1)},
		"most below least":   {"InvalidParameterValue", count(2, 1)},
		"type without size":  {"InvalidParameterValue", change(func(in *ec2.RunInstancesInput) { in.InstanceType = "t3" })},
		"unknown subnet":     {"InvalidSubnetID.NotFound", change(func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String("subnet-1") })},
		"unknown zone":       {"InvalidParameterValue", zone("us-east-1z")},
		"zone of elsewhere":  {"InvalidParameterValue", zone("eu-west-1a")},
		"long token":         {"InvalidClientToken", token(strings.Repeat("x", 65))},
		"unknown key pair":   {"InvalidKeyPair.NotFound", change(func(in *ec2.RunInstancesInput) { in.KeyName = aws.String("k") })},
		"reserved tag":       {"InvalidParameterValue", tagged(types.ResourceTypeInstance, "aws:x", "")},
		"untaggable":         {"InvalidParameterValue", tagged(types.ResourceTypeVpc, "x", "")},
		"spot tags, no spot": {"InvalidParameterValue", tagged(types.ResourceTypeSpotInstancesRequest, "x", "")},
		"interface tags, none made": {"InvalidParameterValue", change(func(in *ec2.RunInstancesInput) {
			attached(free)(in)
			tagged(types.ResourceTypeNetworkInterface, "x", "")(in)
		})},
		"no such interface":    {"InvalidNetworkInterfaceID.NotFound", attached("eni-00000001")},
		"interface in use":     {"InvalidNetworkInterface.InUse", attached(used)},
		"an interface for two": {"InvalidParameterCombination", change(func(in *ec2.RunInstancesInput) { attached(free)(in); count(2, 2)(in) })},
		"subnet beside interfaces": {"InvalidParameterCombination", change(func(in *ec2.RunInstancesInput) {
			attached(free)(in)
			in.SubnetId = aws.String(w.SubnetID("us-east-1a"))
		})},
		"shutdown behavior": {"InvalidParameterValue", change(func(in *ec2.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = "x" })},
		"unknown template":  {"InvalidLaunchTemplateName.NotFoundException", template("nobody", "")},
		"unknown parameter": {"InvalidParameterValue", change(func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("resolve:ssm:/x") })},
		"dry run":           {"DryRunOperation", change(func(in *ec2.RunInstancesInput) { in.DryRun = aws.Bool(true) })},
		"subnet against zone": {"InvalidParameterValue", change(func(in *ec2.RunInstancesInput) {
			zone("us-east-1a")(in)
			in.SubnetId = aws.String(w.SubnetID("us-east-1b"))
		})},
		"51 tags": {"TagLimitExceeded", change(func(in *ec2.RunInstancesInput) {
			tagged(types.ResourceTypeInstance, "0", "")(in)
			for i := range 50 {
				in.TagSpecifications[0].Tags = append(in.TagSpecifications[0].Tags, types.Tag{Key: aws.String(strings.Repeat("k", i+1))})
			}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.ec2.RunInstances(t.Context(), order(c.change))
			wantCode(t, err, c.code)
		})
	}
	if n := len(w.Instances()); n != 0 {
		t.Errorf("refused launches made %d instances", n)
	}
}

func TestClientTokenLaunchesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	first := w.run(t, count(1, 3), token("a"))
	wantIDs(t, w.run(t, count(1, 3), token("a")), first)
	_, err := w.ec2.RunInstances(t.Context(), order(count(1, 4), token("a")))
	wantCode(t, err, "IdempotentParameterMismatch")
	w.terminate(t, first...)
	out, err := w.ec2.RunInstances(t.Context(), order(count(1, 3), token("a")))
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, idsOf(out.Instances), first)
	if s := out.Instances[0].State.Name; s != types.InstanceStateNameTerminated {
		t.Errorf("replay shows %s, want the current state", s)
	}
	if n := len(w.Instances()); n != 3 {
		t.Errorf("%d instances, want 3", n)
	}
}

func TestClientTokenCountsPerZoneAndRegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.run(t, token("a"))
	w.run(t, token("a"), zone("us-east-1a"))
	w.run(t, token("a"), zone("us-east-1b"))
	_, err := w.in(t, "eu-west-1").RunInstances(t.Context(), order(token("a")))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.Instances()); n != 4 {
		t.Errorf("%d instances, want 4", n)
	}
	_, err = w.ec2.RunInstances(t.Context(), order(token("a"), zone("us-east-1b"), count(1, 2)))
	wantCode(t, err, "IdempotentParameterMismatch")
}

func TestClientTokenUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	var calls sync.WaitGroup
	got := make([][]string, 20)
	for n := range got {
		calls.Go(func() {
			out, err := w.ec2.RunInstances(t.Context(), order(count(2, 2), token("same")))
			if err != nil {
				t.Error(err)
				return
			}
			got[n] = idsOf(out.Instances)
		})
	}
	calls.Wait()
	for _, ids := range got {
		wantIDs(t, ids, got[0])
	}
	if n := len(w.Instances()); n != 2 {
		t.Errorf("%d instances, want 2", n)
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.SetCapacity("us-east-1", "us-east-1a", "t3.micro", 3)
	_, err := w.ec2.RunInstances(t.Context(), order(count(4, 5), zone("us-east-1a"), token("a")))
	wantCode(t, err, "InsufficientInstanceCapacity")
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() != http.StatusInternalServerError {
		t.Errorf("got %v, want status 500", err)
	}
	if ids := w.run(t, count(1, 5), zone("us-east-1a"), token("a")); len(ids) != 3 {
		t.Errorf("%d instances, want the 3 there is room for", len(ids))
	}
	ids := w.run(t, count(5, 5))
	if i, _ := w.Instance(ids[0]); i.Zone == "us-east-1a" {
		t.Error("launched into the full zone")
	}
	w.SetCapacity("us-east-1", "us-east-1a", "t3.micro", -1)
	w.run(t, count(5, 5), zone("us-east-1a"))
}

func TestSpot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, spot, token("a"), tagged(types.ResourceTypeSpotInstancesRequest, "s", "1"))[0]
	i := w.one(t, id)
	if i.InstanceLifecycle != types.InstanceLifecycleTypeSpot || i.SpotInstanceRequestId == nil || *i.ClientToken != "a" {
		t.Fatalf("instance %+v", i)
	}
	request := []string{*i.SpotInstanceRequestId}
	show := func() types.SpotInstanceRequest {
		out, err := w.ec2.DescribeSpotInstanceRequests(t.Context(), &ec2.DescribeSpotInstanceRequestsInput{
			Filters: []types.Filter{{Name: aws.String("tag:s"), Values: []string{"1"}}},
		})
		if err != nil || len(out.SpotInstanceRequests) != 1 {
			t.Fatalf("got %v, %v; want one request", out, err)
		}
		return out.SpotInstanceRequests[0]
	}
	if r := show(); r.State != types.SpotInstanceStateActive || *r.InstanceId != id || *r.SpotInstanceRequestId != request[0] {
		t.Errorf("request %+v", r)
	}
	if _, err := w.ec2.CancelSpotInstanceRequests(t.Context(),
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: request}); err != nil {
		t.Fatal(err)
	}
	if r := show(); r.State != types.SpotInstanceStateCancelled {
		t.Errorf("cancelled request is %s", r.State)
	}
	if s := w.one(t, id).State.Name; s != types.InstanceStateNameRunning {
		t.Errorf("the instance of a cancelled request is %s", s)
	}
	_, err := w.ec2.CancelSpotInstanceRequests(t.Context(),
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-00000000"}})
	wantCode(t, err, "InvalidSpotInstanceRequestID.NotFound")

	other := w.run(t, spot)
	w.terminate(t, other...)
	w.Instances() // settles
	if r := w.SpotRequests(); r[1].State != "closed" {
		t.Errorf("request of a terminated instance is %s", r[1].State)
	}
}

func template(name, version string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateName: &name, Version: &version}
	}
}

func TestLaunchTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{"/img": image}})
	id, _ := w.AddTemplateVersion("us-east-1", "web", map[string]string{
		"ImageId": "resolve:ssm:/img", "InstanceType": "m5.large", "TagSpecification.1.ResourceType": "instance",
		"TagSpecification.1.Tag.1.Key": "from", "TagSpecification.1.Tag.1.Value": "template",
	})
	w.AddTemplateVersion("us-east-1", "web", map[string]string{"ImageId": image, "InstanceType": "m5.xlarge"})
	bare := func(in *ec2.RunInstancesInput) { in.ImageId, in.InstanceType = nil, "" }
	for version, want := range map[string]string{"": "m5.large", "$Default": "m5.large", "$Latest": "m5.xlarge", "2": "m5.xlarge"} {
		i, _ := w.Instance(w.run(t, bare, template("web", version))[0])
		if i.Type != want || i.ImageID != image || (i.Tags["from"] == "template") != (want == "m5.large") {
			t.Errorf("version %q gives %+v", version, i)
		}
	}
	if i, _ := w.Instance(w.run(t, template("web", "2"))[0]); i.Type != "t3.micro" {
		t.Errorf("a type in the request gives %s", i.Type)
	}
	_, err := w.ec2.RunInstances(t.Context(), order(template("web", "3")))
	wantCode(t, err, "InvalidLaunchTemplateId.VersionNotFound")

	show := func(in *ec2.DescribeLaunchTemplateVersionsInput) []types.LaunchTemplateVersion {
		in.LaunchTemplateId = &id
		out, err := w.ec2.DescribeLaunchTemplateVersions(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out.LaunchTemplateVersions
	}
	if all := show(&ec2.DescribeLaunchTemplateVersionsInput{}); len(all) != 2 || *all[0].VersionNumber != 2 {
		t.Errorf("all versions: %+v", all)
	}
	w.SetDefaultVersion("us-east-1", "web", 2)
	some := show(&ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Default", "$Latest", "1"}, ResolveAlias: aws.Bool(true)})
	if len(some) != 2 || !*some[0].DefaultVersion || *some[1].LaunchTemplateData.ImageId != image {
		t.Errorf("named versions: %+v", some)
	}
	if raw := show(&ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"1"}}); *raw[0].LaunchTemplateData.ImageId != "resolve:ssm:/img" {
		t.Errorf("unresolved: %+v", raw[0].LaunchTemplateData)
	}
	_, err = w.ec2.DescribeLaunchTemplateVersions(t.Context(),
		&ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String("lt-00000000")})
	wantCode(t, err, "InvalidLaunchTemplateId.NotFound")
}

// A token's parameters are those that a template and an image come to, so a
// request that is not frozen does not survive a change of them.
func TestClientTokenNoticesAChangedTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.AddTemplateVersion("us-east-1", "web", map[string]string{"KeyName": ""})
	w.run(t, template("web", "$Latest"), token("a"))
	w.AddTemplateVersion("us-east-1", "web", map[string]string{"UserData": "eA=="})
	_, err := w.ec2.RunInstances(t.Context(), order(template("web", "$Latest"), token("a")))
	wantCode(t, err, "IdempotentParameterMismatch")
}

func TestStatesChangeAfterTheirDelay(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, ec2sim.Config{Now: c.Now, PendingFor: 10 * time.Second, ShuttingDownFor: 20 * time.Second})
	id := w.run(t)[0]
	var seen []types.InstanceStateName
	watch := func(steps ...time.Duration) {
		for _, d := range steps {
			c.pass(d)
			seen = append(seen, w.one(t, id).State.Name)
		}
	}
	watch(9*time.Second, time.Second)
	w.terminate(t, id)
	watch(0, 19*time.Second, time.Second, 59*time.Minute)
	want := []types.InstanceStateName{"pending", "running", "shutting-down", "shutting-down", "terminated", "terminated"}
	if !slices.Equal(seen, want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
	c.pass(time.Minute)
	_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	wantCode(t, err, "InvalidInstanceID.NotFound")
}
