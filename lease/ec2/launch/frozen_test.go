package launch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// A launcher of another version decided otherwise: other tags of Lapse, no IMDSv2, no end at shutdown. Its record says so.
const ofAnotherVersion = `{
	"ImageId": "` + ec2test.Image + `",
	"MetadataOptions": {"HttpTokens": "optional"},
	"TagSpecifications": [
		{"ResourceType": "instance", "Tags": [
			{"Key": "Name", "Value": "worker"}, {"Key": "lapse:future", "Value": "x"}, {"Key": "lapse:hold"},
			{"Key": "lapse:launch"}, {"Key": "lapse:registry", "Value": "` + ec2test.UUID + `"}]},
		{"ResourceType": "volume", "Tags": [{"Key": "lapse:launch"}]}
	],
	"UserData": "#!/bin/sh\n"
}`

// sentByAnotherVersion puts such a launch on record, and sends its call as that version did; then it was killed.
func (w world) sentByAnotherVersion(t *testing.T, token string) []string {
	t.Helper()
	l := lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Account: ec2test.Account, Region: ec2test.Region, Count: 2,
		Window: lease.Duration(time.Hour), Asked: "sha256:of another version", Request: json.RawMessage(ofAnotherVersion),
		Subnets: []string{w.Sim.SubnetID(ec2test.ZoneA)}, InstanceTypes: []string{"t3.micro"}, CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	l, _ = l.Next()
	l, err := l.Sending(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.PutLaunch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	tags := func(kv ...string) (list []types.Tag) {
		for pair := range slices.Chunk(kv, 2) {
			list = append(list, types.Tag{Key: aws.String(pair[0]), Value: aws.String(pair[1])})
		}
		return list
	}
	out, err := awsec2.NewFromConfig(w.AWS()).RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(ec2test.Image), InstanceType: "t3.micro", SubnetId: aws.String(w.Sim.SubnetID(ec2test.ZoneA)), UserData: aws.String("IyEvYmluL3NoCg=="),
		MinCount: aws.Int32(2), MaxCount: aws.Int32(2), ClientToken: aws.String(token + ".1"),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateOptional},
		TagSpecifications: []types.TagSpecification{
			{ResourceType: "instance", Tags: tags("Name", "worker", "lapse:future", "x", "lapse:hold", "", "lapse:launch", token+".1", "lapse:registry", ec2test.UUID)},
			{ResourceType: "volume", Tags: tags("lapse:launch", token+".1")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	return ids
}

func TestALaunchOfAnotherVersionIsResumedWithTheIdenticalCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ids := w.sentByAnotherVersion(t, "old-7")
	result, err := w.launcher(t).Resume(t.Context(), "old-7", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Launch.Instances(); !slices.Equal(got, ids) || w.Sent("RunInstances") != 2 || len(w.Sim.Instances()) != 2 {
		t.Errorf("resumed with %v in %d calls, of which EC2 made %d; want %v", got, w.Sent("RunInstances"), len(w.Sim.Instances()), ids)
	}
	w.wantBound(t, result)
}

// What this version decides of a call is on record before the call, so that the next version repeats it.
func TestTheWholeCallIsOnRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.Skeleton = []byte(`{"InstanceMarketOptions": {"MarketType": "spot"}}`)
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	stored := w.stored(t, "job-7")
	var frozen struct {
		MetadataOptions struct {
			HttpTokens              string
			HttpPutResponseHopLimit int
		}
		InstanceInitiatedShutdownBehavior string
		TagSpecifications                 []struct {
			ResourceType string
			Tags         []struct{ Key, Value string }
		}
	}
	if err := json.Unmarshal(stored.Request, &frozen); err != nil {
		t.Fatal(err)
	}
	if frozen.MetadataOptions.HttpTokens != "required" || frozen.MetadataOptions.HttpPutResponseHopLimit != 1 || frozen.InstanceInitiatedShutdownBehavior != "terminate" {
		t.Errorf("frozen: %s", stored.Request)
	}
	made := map[string]string{"Name": "worker", lease.TagRegistry: ec2test.UUID, lease.TagLaunch: "", lease.TagLeased: ""}
	spot := map[string]string{"Name": "worker", lease.TagRegistry: ec2test.UUID, lease.TagLaunch: ""}
	instance := maps.Clone(made)
	instance[lease.TagHolder] = "ada"
	instance[lease.TagExpires] = stored.CreatedAt.Add(time.Hour).Format("2006-01-02T15:04:05Z")
	want := map[string]map[string]string{"instance": instance, "volume": made, "network-interface": made, "spot-instances-request": spot}
	for _, s := range frozen.TagSpecifications {
		tags := map[string]string{}
		for _, tag := range s.Tags {
			tags[tag.Key] = tag.Value
		}
		if !maps.Equal(tags, want[s.ResourceType]) {
			t.Errorf("%s: %v, want %v", s.ResourceType, tags, want[s.ResourceType])
		}
	}
	if len(frozen.TagSpecifications) != len(want) {
		t.Errorf("tags of %d kinds", len(frozen.TagSpecifications))
	}
}

func TestALaunchWithoutATermIsTaggedSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 1)
	r.Term, r.MaxTerm = 0, 0
	if _, err := w.launcher(t).Launch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, i := range w.made("job-7") {
		if got := i.Tags[lease.TagExpires]; got != "none" {
			t.Errorf("tagged %q", got)
		}
	}
}

func TestACallThatCannotBeRepeatedExactlyIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.sentByAnotherVersion(t, "old-7")
	change := func(request string) {
		l := w.stored(t, "old-7")
		l.Request = json.RawMessage(request)
		if _, err := w.store.PutLaunch(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, request := range []string{
		`{"ImageId": "` + ec2test.Image + `"}`, `{}`, `null`, `7`,
		strings.Replace(ofAnotherVersion, `"UserData"`, `"OfTomorrow": true, "UserData"`, 1),
	} {
		change(request)
		_, err := w.launcher(t).Resume(t.Context(), "old-7", 0)
		ec2test.WantError[*lease.MalformedError](t, err)
	}
	change(`{"ImageId": "` + ec2test.Image + `", "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "lapse:registry", "Value": "another"}]}]}`)
	_, err := w.launcher(t).Resume(t.Context(), "old-7", 0)
	if e := ec2test.WantAs[*launch.RegistryError](t, err); e.Frozen != "another" || e.Here != ec2test.UUID {
		t.Errorf("%v", e)
	}
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}

func TestMoreTagsThanEC2AcceptsAreRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	for n, fits := range map[int]bool{45: true, 46: false, 200: false} { // five of an instance's 50 are ours
		r := w.request(fmt.Sprintf("job-%d", n), 1)
		r.Tags = map[string]string{}
		for i := range n {
			r.Tags[fmt.Sprintf("tag-%d", i)] = "x"
		}
		_, err := w.launcher(t).Launch(t.Context(), r)
		if fits {
			if err != nil || len(w.made(r.Token)) != 1 || len(w.made(r.Token)[0].Tags) != 50 {
				t.Errorf("%d tags: %v", n, err)
			}
			continue
		}
		if e := ec2test.WantAs[*launch.RequestError](t, err); e.Field != "TagSpecifications (instance)" {
			t.Errorf("%d tags: %v", n, err)
		}
		_, err = w.store.Launch(t.Context(), r.Token)
		ec2test.WantError[*lease.NotFoundError](t, err)
	}
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}
