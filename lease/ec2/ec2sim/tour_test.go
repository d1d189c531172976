package ec2sim_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"lapse/lease/ec2/ec2sim"
)

// tour is a Sim whose every answer is seen as it was sent and as the SDK
// understood it, and compared with the other by the model.
type tour struct {
	world
	t     *testing.T
	model model
	sent  bytes.Buffer    // the last answer
	done  map[string]bool // actions
	told  map[string]bool // what was parsed and was not empty, as Action.Member.Member
}

func newTour(t *testing.T) *tour {
	t.Helper()
	tr := &tour{t: t, model: loadModel(t), done: map[string]bool{}, told: map[string]bool{}}
	tr.Sim = ec2sim.New(ec2sim.Config{Parameters: map[string]string{"/img": image}, KeyPairs: []string{"key"}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.sent.Reset()
		tr.ServeHTTP(copying{w, &tr.sent}, r)
	}))
	t.Cleanup(func() { tr.Close(); server.Close() })
	tr.url = server.URL
	tr.ec2 = tr.in(t, "us-east-1")
	return tr
}

type copying struct {
	http.ResponseWriter
	to *bytes.Buffer
}

func (c copying) Write(b []byte) (int, error) {
	c.to.Write(b)
	return c.ResponseWriter.Write(b)
}

// see takes what the SDK made of an action's answer, and compares.
func see[Out any](tr *tour, out Out, err error) Out {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
	action := strings.TrimSuffix(reflect.TypeOf(out).Elem().Name(), "Output")
	tr.done[action] = true
	operation, known := tr.model.Operations[action]
	if !known {
		return out // not EC2's
	}
	var answer element
	if err := xml.Unmarshal(tr.sent.Bytes(), &answer); err != nil {
		tr.t.Fatal(err)
	}
	answer.Children = slices.DeleteFunc(answer.Children, func(e element) bool {
		name := e.XMLName.Local
		return name == "requestId" || name == "return" && operation.Output.Shape == ""
	})
	if operation.Output.Shape == "" {
		if len(answer.Children) > 0 {
			tr.t.Errorf("%s says something: %v", action, answer.Children)
		}
		return out
	}
	for _, wrong := range tr.model.accepts(action, answer, operation.Output.Shape) {
		tr.t.Error(wrong)
	}
	tr.compare(action, answer, operation.Output.Shape, reflect.ValueOf(out).Elem())
	return out
}

// compare follows an answer and what the SDK made of it, and fails where the
// SDK has nothing, or another thing, for what was sent.
func (tr *tour) compare(path string, e element, shapeName string, v reflect.Value) {
	tr.t.Helper()
	v = reflect.Indirect(v)
	s := tr.model.Shapes[shapeName]
	switch s.Type {
	case "structure":
		if !v.IsValid() {
			tr.t.Errorf("%s: the SDK has nothing", path)
			return
		}
		for name, m := range s.Members {
			for _, child := range e.Children {
				if child.XMLName.Local == m.LocationName || m.LocationName == "" && child.XMLName.Local == name {
					tr.compare(path+"."+name, child, m.Shape, v.FieldByName(name))
				}
			}
		}
	case "list":
		if !v.IsValid() || v.Len() != len(e.Children) {
			tr.t.Errorf("%s: the SDK has %v for %d members", path, v, len(e.Children))
			return
		}
		for n, child := range e.Children {
			tr.compare(path, child, s.Member.Shape, v.Index(n))
		}
	default:
		text := strings.TrimSpace(e.Text)
		if got := plain(v); got != text {
			tr.t.Errorf("%s: the SDK has %q for %q", path, got, text)
		}
		tr.told[path] = tr.told[path] || text != ""
	}
}

// plain writes a value as EC2 does.
func plain(v reflect.Value) string {
	if !v.IsValid() {
		return ""
	}
	if at, is := v.Interface().(time.Time); is {
		return at.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return fmt.Sprint(v.Interface())
}

// all asks for everything that can be asked of a launch.
func all(in *ec2.RunInstancesInput) {
	tags := []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
	for _, kind := range []types.ResourceType{"instance", "volume", "network-interface", "spot-instances-request"} {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: kind, Tags: tags})
	}
	in.ClientToken, in.KeyName, in.UserData = aws.String("all.1"), aws.String("key"), aws.String("IyEvYmluL3No")
	in.Placement = &types.Placement{AvailabilityZone: aws.String("us-east-1b")}
	in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	in.BlockDeviceMappings = []types.BlockDeviceMapping{
		{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(9), DeleteOnTermination: aws.Bool(false)}},
		{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{}},
	}
	in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), DeleteOnTermination: aws.Bool(false)}}
	in.MetadataOptions = &types.InstanceMetadataOptionsRequest{
		HttpTokens: "required", HttpEndpoint: "enabled", HttpPutResponseHopLimit: aws.Int32(2), InstanceMetadataTags: "disabled",
	}
	spot(in)
}

func TestEveryAnswerFitsTheModelAndIsUnderstood(t *testing.T) {
	t.Parallel()
	tr := newTour(t)
	ctx, c, cfg := t.Context(), tr.ec2, tr.awsConfig(t, "us-east-1")
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	see(tr, caller, err)
	role, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::1:role/r"), RoleSessionName: aws.String("s")})
	see(tr, role, err)
	parameter, err := ssm.NewFromConfig(cfg).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/img")})
	see(tr, parameter, err)
	tr.template()
	versions, err := c.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateName: aws.String("web"), Versions: []string{"$Latest"}, ResolveAlias: aws.Bool(true),
	})
	see(tr, versions, err)
	tr.fleets()
	tr.keyPairs()

	launch, err := c.RunInstances(ctx, order(all))
	spotted := idsOf(see(tr, launch, err).Instances)
	launch, err = c.RunInstances(ctx, order(count(6, 6)))
	id := idsOf(see(tr, launch, err).Instances)[0]
	listing, err := c.DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
	see(tr, listing, err)
	tr.lifecycle(id)
	tr.litter(id, spotted[0])

	for _, action := range tr.Actions() {
		if !tr.done[action] {
			t.Errorf("%s was not asked", action)
		}
	}
	for _, path := range read() {
		if !tr.told[path] {
			t.Errorf("%s, which is read, was never said", path)
		}
	}
}

// template makes a template that says all that a launcher looks for in one.
func (tr *tour) template() {
	tr.AddTemplateVersion("us-east-1", "web", map[string]string{
		"ImageId": "resolve:ssm:/img", "InstanceType": "t3.micro", "KeyName": "key", "UserData": "eA==",
		"InstanceInitiatedShutdownBehavior": "terminate", "DisableApiTermination": "true",
		"DisableApiStop": "true", "Operator.Principal": "service.example.com",
		"NetworkInterface.1.DeviceIndex": "0", "NetworkInterface.1.NetworkCardIndex": "0", "NetworkInterface.1.SubnetId": "subnet-1",
		"NetworkInterface.1.SecurityGroupId.1": "sg-1", "NetworkInterface.1.AssociatePublicIpAddress": "true",
		"NetworkInterface.1.DeleteOnTermination": "true", "NetworkInterface.1.InterfaceType": "interface",
		"NetworkInterface.1.Ipv6AddressCount": "0", "NetworkInterface.1.NetworkInterfaceId": "eni-1",
		"NetworkInterface.1.PrivateIpAddress": "10.0.0.1",
		"InstanceMarketOptions.MarketType":    "spot", "InstanceMarketOptions.SpotOptions.SpotInstanceType": "persistent",
		"MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpEndpoint": "enabled",
		"MetadataOptions.HttpPutResponseHopLimit": "2", "MetadataOptions.HttpProtocolIpv6": "enabled",
		"MetadataOptions.InstanceMetadataTags": "enabled",
		"TagSpecification.1.ResourceType":      "instance", "TagSpecification.1.Tag.1.Key": "k", "TagSpecification.1.Tag.1.Value": "v",
	})
}

func (tr *tour) fleets() {
	ctx := tr.t.Context()
	fleet, spotFleet := tr.AddFleet(ec2sim.Fleet{}), tr.AddFleet(ec2sim.Fleet{ID: "sfr-1"})
	fleets, err := tr.ec2.DescribeFleets(ctx, &ec2.DescribeFleetsInput{FleetIds: []string{fleet.ID}})
	see(tr, fleets, err)
	spotFleets, err := tr.ec2.DescribeSpotFleetRequests(ctx, &ec2.DescribeSpotFleetRequestsInput{SpotFleetRequestIds: []string{spotFleet.ID}})
	see(tr, spotFleets, err)
}

func (tr *tour) keyPairs() {
	ctx := tr.t.Context()
	imported, err := tr.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName: aws.String("own"), PublicKeyMaterial: []byte("ssh-ed25519 AAAA"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeKeyPair, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
	})
	id := see(tr, imported, err).KeyPairId
	found, err := tr.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{"own"}})
	see(tr, found, err)
	gone, err := tr.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyPairId: id})
	see(tr, gone, err)
}

// lifecycle takes an instance through its life.
func (tr *tour) lifecycle(id string) {
	ctx, ids := tr.t.Context(), []string{id}
	tags, err := tr.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	see(tr, tags, err)
	untagged, err := tr.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String("k")}}})
	see(tr, untagged, err)
	ended, err := tr.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	see(tr, ended, err)
	after, err := tr.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	see(tr, after, err)
}

// litter looks at what is with instances and stays after them, and removes it.
func (tr *tour) litter(ended, spotted string) {
	ctx := tr.t.Context()
	i, _ := tr.Instance(spotted)
	for range 2 { // attached, and then not
		volumes, err := tr.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
		see(tr, volumes, err)
		ports, err := tr.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{})
		see(tr, ports, err)
		requests, err := tr.ec2.DescribeSpotInstanceRequests(ctx, &ec2.DescribeSpotInstanceRequestsInput{})
		see(tr, requests, err)
		cancelled, err := tr.ec2.CancelSpotInstanceRequests(ctx, &ec2.CancelSpotInstanceRequestsInput{
			SpotInstanceRequestIds: []string{i.SpotRequest},
		})
		see(tr, cancelled, err)
		tr.terminate(tr.t, spotted, ended)
	}
	volume, err := tr.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(i.Volumes[0])})
	see(tr, volume, err)
	port, err := tr.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: aws.String(i.Interfaces[0])})
	see(tr, port, err)
}

// read lists the members that lease/ec2 reads.
func read() []string {
	under := func(prefix string, members ...string) []string {
		for n := range members {
			members[n] = prefix + "." + members[n]
		}
		return members
	}
	instance := []string{
		"InstanceId", "LaunchTime", "ClientToken", "SpotInstanceRequestId", "State.Name", "Placement.AvailabilityZone",
		"Placement.AvailabilityZoneId", "Tags.Key", "Tags.Value",
	}
	return slices.Concat(
		under("RunInstances.Instances", slices.Clone(instance)...),
		under("DescribeInstances.Reservations.Instances", instance...), []string{"DescribeInstances.NextToken"},
		under("TerminateInstances.TerminatingInstances", "InstanceId", "CurrentState.Name"),
		under("DescribeLaunchTemplateVersions.LaunchTemplateVersions", "LaunchTemplateId", "VersionNumber"),
		under("DescribeLaunchTemplateVersions.LaunchTemplateVersions.LaunchTemplateData", "ImageId", "DisableApiTermination",
			"InstanceMarketOptions.MarketType", "InstanceMarketOptions.SpotOptions.SpotInstanceType",
			"TagSpecifications.ResourceType", "TagSpecifications.Tags.Key", "TagSpecifications.Tags.Value",
			"MetadataOptions.HttpEndpoint", "MetadataOptions.HttpProtocolIpv6", "MetadataOptions.HttpPutResponseHopLimit",
			"MetadataOptions.InstanceMetadataTags", "DisableApiStop", "Operator.Principal", "NetworkInterfaces.NetworkInterfaceId",
			"NetworkInterfaces.DeviceIndex", "NetworkInterfaces.SubnetId", "NetworkInterfaces.Groups"),
		under("DescribeVolumes.Volumes", "VolumeId", "State", "CreateTime", "Attachments.InstanceId", "Tags.Key", "Tags.Value"),
		under("DescribeNetworkInterfaces.NetworkInterfaces", "NetworkInterfaceId", "Status", "RequesterManaged", "Attachment.InstanceId",
			"TagSet.Key", "TagSet.Value"),
		under("DescribeFleets.Fleets", "FleetId", "FleetState", "Type"),
		under("DescribeSpotFleetRequests.SpotFleetRequestConfigs", "SpotFleetRequestId", "SpotFleetRequestState", "SpotFleetRequestConfig.Type"),
		under("DescribeSpotInstanceRequests.SpotInstanceRequests", "SpotInstanceRequestId", "Type", "State", "InstanceId",
			"CreateTime", "Tags.Key", "Tags.Value"),
	)
}
