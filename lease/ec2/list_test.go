package ec2_test

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

func TestListIsCompleteOrAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	want := map[string]bool{}
	for n := range 2500 {
		tags := map[string]string{lease.TagRegistry: ec2test.UUID}
		if n%2 == 1 {
			tags[lease.TagRegistry] = "another"
		}
		want[w.Sim.Create(ec2sim.Instance{Tags: tags}).ID] = true
	}
	w.Sim.Create(ec2sim.Instance{Tags: map[string]string{"Name": "nobody's"}})
	w.Sim.Create(ec2sim.Instance{Region: "eu-west-1", Tags: map[string]string{lease.TagRegistry: ec2test.UUID}})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})

	listing, err := cloud.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, i := range listing.Instances {
		got[i.ID] = true
	}
	if len(listing.Instances) != 2500 || !maps.Equal(got, want) {
		t.Errorf("%d instances, %d different ones, want 2500", len(listing.Instances), len(got))
	}
	if n := w.Sent("DescribeInstances"); n != 3 {
		t.Errorf("%d calls for 2,500 instances", n)
	}

	lastPage := func(v url.Values) bool { return v.Get("NextToken") != "" }
	w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Match: lastPage, Times: 1, Effect: ec2sim.Refuse, Code: "InternalError"})
	if listing, err := cloud.List(t.Context()); err == nil || len(listing.Instances) != 0 {
		t.Errorf("a listing without its second page: %d instances, %v", len(listing.Instances), err)
	}
}

func TestListingsAreCompleteWherePagesAreShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{PageSizes: []int{0, 3, 0, 0, 1}})
	ids := w.herd(11)
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	for name, list := range map[string]func(context.Context) (lease.Listing, error){
		"list":     cloud.List,
		"describe": func(ctx context.Context) (lease.Listing, error) { return cloud.Describe(ctx, ids) },
	} {
		listing, err := list(t.Context())
		var seen []string
		for _, i := range listing.Instances {
			seen = append(seen, i.ID)
		}
		if err != nil || !slices.Equal(seen, ids) {
			t.Errorf("%s: %v, %v; want %v", name, seen, err, ids)
		}
	}
}

func TestInstancesAreTranslated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	made := w.run(t, func(in *awsec2.RunInstancesInput) {
		in.SubnetId = aws.String(w.Sim.SubnetID(ec2test.ZoneA))
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
	})
	listing, err := w.Cloud(t, w.AWS(), ec2.Options{}).List(t.Context())
	if err != nil || len(listing.Instances) != 1 {
		t.Fatalf("%+v, %v", listing, err)
	}
	got := listing.Instances[0]
	want := lease.Instance{
		ID: made.ID, Location: ec2test.Here(), Zone: ec2test.ZoneA, ZoneID: "use1-az1", State: lease.InstanceRunning, LaunchTime: made.LaunchTime.UTC(),
		ClientToken: "job-7.1", Spot: made.SpotRequest, Tags: made.Tags,
	}
	if !maps.Equal(got.Tags, want.Tags) || !got.LaunchTime.Equal(want.LaunchTime) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got.Tags, want.Tags, got.LaunchTime, want.LaunchTime = nil, nil, time.Time{}, time.Time{}
	if got.ID != want.ID || got.Location != want.Location || got.Zone != want.Zone || got.ZoneID != want.ZoneID || got.State != want.State ||
		got.ClientToken != want.ClientToken || got.Spot != want.Spot || got.Spot == "" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDescribeOmitsUnknownIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ids := w.herd(450)
	w.Sim.SetTags(ids[7], nil) // looked up by id, whatever its tags
	asked := append(slices.Clone(ids), "i-0123456789abcdef0", "nonsense")
	cloud := w.Cloud(t, w.AWS(), ec2.Options{})
	listing, err := cloud.Describe(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if len(listing.Instances) != 450 || !listing.Dated {
		t.Errorf("%d instances, dated %t", len(listing.Instances), listing.Dated)
	}
	if n := w.Sent("DescribeInstances"); n != 3 {
		t.Errorf("%d calls for %d ids", n, len(asked))
	}
	if listing, err := cloud.Describe(t.Context(), nil); err != nil || len(listing.Instances) != 0 || w.Sent("DescribeInstances") != 3 {
		t.Errorf("nothing asked for: %+v, %v", listing, err)
	}
}
