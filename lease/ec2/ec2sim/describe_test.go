package ec2sim_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

func filterBy(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func TestDescribeInstancesFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	a := w.Create(ec2sim.Instance{Tags: map[string]string{"lapse:registry": "r1", "team": "a*b"}, ClientToken: "tok.1"}).ID
	b := w.Create(ec2sim.Instance{Zone: "us-east-1b", Tags: map[string]string{"lapse:registry": "r2"}, State: ec2sim.Stopped}).ID
	c := w.Create(ec2sim.Instance{Tags: map[string]string{"team": "axb"}, ClientToken: "tok.2"}).ID
	w.Create(ec2sim.Instance{Region: "eu-west-1", Tags: map[string]string{"lapse:registry": "r1"}})
	for name, x := range map[string]struct {
		filters []types.Filter
		want    []string
	}{
		"nothing":           {nil, []string{a, b, c}},
		"tag by value":      {filterBy("tag:lapse:registry", "r1"), []string{a}},
		"tag by key":        {filterBy("tag-key", "lapse:registry"), []string{a, b}},
		"key with wildcard": {filterBy("tag-key", "lapse*"), []string{a, b}},
		"wildcards":         {filterBy("tag:team", "a*b"), []string{a, c}},
		"one character":     {filterBy("tag:team", "a?b"), []string{a, c}},
		"escaped wildcard":  {filterBy("tag:team", `a\*b`), []string{a}},
		"case counts":       {filterBy("tag:team", "A*"), nil},
		"any of the values": {filterBy("client-token", "tok.1", "tok.2"), []string{a, c}},
		"by id":             {filterBy("instance-id", a), []string{a}},
		"by state":          {filterBy("instance-state-name", "stopped"), []string{b}},
		"by zone":           {filterBy("availability-zone", "us-east-1b"), []string{b}},
		"all of the filters": {
			append(filterBy("tag-key", "team"), filterBy("client-token", "tok.2")...), []string{c},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantIDs(t, idsOf(w.describe(t, &ec2.DescribeInstancesInput{Filters: x.filters})), x.want)
		})
	}
	wantIDs(t, idsOf(w.describe(t, &ec2.DescribeInstancesInput{
		InstanceIds: []string{a, b}, Filters: filterBy("tag-key", "team"),
	})), []string{a})
}

func TestDescribeInstancesRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t)[0]
	for _, c := range []struct {
		code string
		in   *ec2.DescribeInstancesInput
	}{
		{"InvalidInstanceID.NotFound", &ec2.DescribeInstancesInput{InstanceIds: []string{id, "i-00000000"}}},
		{"InvalidInstanceID.Malformed", &ec2.DescribeInstancesInput{InstanceIds: []string{"vol-00000000"}}},
		{"InvalidParameterCombination", &ec2.DescribeInstancesInput{InstanceIds: []string{id}, MaxResults: aws.Int32(10)}},
		{"InvalidParameterValue", &ec2.DescribeInstancesInput{MaxResults: aws.Int32(4)}},
		{"InvalidParameterValue", &ec2.DescribeInstancesInput{MaxResults: aws.Int32(1001)}},
		{"InvalidPaginationToken", &ec2.DescribeInstancesInput{NextToken: aws.String("x")}},
		{"InvalidParameterValue", &ec2.DescribeInstancesInput{Filters: filterBy("no-such-filter", "x")}},
		{"FilterLimitExceeded", &ec2.DescribeInstancesInput{Filters: filterBy("client-token", make([]string, 201)...)}},
		{"DryRunOperation", &ec2.DescribeInstancesInput{DryRun: aws.Bool(true)}},
	} {
		_, err := w.ec2.DescribeInstances(t.Context(), c.in)
		wantCode(t, err, c.code)
	}
}

func TestPagesSurviveChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	all := w.run(t, count(23, 23))
	other := w.Create(ec2sim.Instance{}).ID
	in := &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), Filters: filterBy("image-id", image)}
	var got []string
	var sizes []int
	pages := ec2.NewDescribeInstancesPaginator(w.ec2, in)
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range out.Reservations {
			n += len(r.Instances)
			got = append(got, idsOf(r.Instances)...)
		}
		sizes = append(sizes, n)
		w.Create(ec2sim.Instance{ID: other}) // moves to the end
	}
	wantIDs(t, got, all)
	if fmt.Sprint(sizes) != "[5 5 5 5 3]" {
		t.Errorf("pages of %v", sizes)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, spot, tagged(types.ResourceTypeInstance, "a", "1"))[0]
	resources := []string{id, w.Volumes()[0].ID, w.Interfaces()[0].ID, w.SpotRequests()[0].ID}
	tag := func(key, value string) types.Tag { return types.Tag{Key: &key, Value: &value} }
	create := func(ids []string, tags ...types.Tag) error {
		_, err := w.ec2.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: tags})
		return err
	}
	remove := func(tags ...types.Tag) {
		if _, err := w.ec2.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: resources, Tags: tags}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int) {
		t.Helper()
		i, _ := w.Instance(id)
		got := []int{len(i.Tags), len(w.Volumes()[0].Tags), len(w.Interfaces()[0].Tags), len(w.SpotRequests()[0].Tags)}
		if got[0] != n || got[1] != n || got[2] != n || got[3] != n {
			t.Errorf("tags on instance, volume, interface, request: %v, want %d", got, n)
		}
	}
	if err := create(resources, tag("a", "2"), tag("b", "1")); err != nil {
		t.Fatal(err)
	}
	want(2)
	remove(tag("a", "other"), types.Tag{Key: aws.String("b")})
	want(1)
	remove()
	want(0)
	wantCode(t, create([]string{id, "i-00000000"}, tag("a", "1")), "InvalidInstanceID.NotFound")
	wantCode(t, create([]string{id, "acl-00000000"}, tag("a", "1")), "InvalidID")
	wantCode(t, create([]string{id}, tag("aws:a", "1")), "InvalidParameterValue")
	want(0)
}

func TestDescribeVolumesAndInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, tagged(types.ResourceTypeVolume, "k", "v"), tagged(types.ResourceTypeNetworkInterface, "k", "v"),
		func(in *ec2.RunInstancesInput) {
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
				DeviceIndex: aws.Int32(0), SubnetId: aws.String(w.SubnetID("us-east-1c")), DeleteOnTermination: aws.Bool(false),
			}}
		})[0]
	w.run(t)
	volumes, err := w.ec2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{Filters: filterBy("tag:k", "v")})
	if err != nil || len(volumes.Volumes) != 1 {
		t.Fatalf("got %v, %v", volumes, err)
	}
	v := volumes.Volumes[0]
	if v.State != types.VolumeStateInUse || *v.Attachments[0].InstanceId != id || !*v.Attachments[0].DeleteOnTermination {
		t.Errorf("volume %+v", v)
	}
	w.terminate(t, id)
	interfaces, err := w.ec2.DescribeNetworkInterfaces(t.Context(),
		&ec2.DescribeNetworkInterfacesInput{Filters: filterBy("tag:k", "v")})
	if err != nil || len(interfaces.NetworkInterfaces) != 1 {
		t.Fatalf("got %v, %v", interfaces, err)
	}
	n := interfaces.NetworkInterfaces[0]
	if n.Status != types.NetworkInterfaceStatusAvailable || *n.AvailabilityZone != "us-east-1c" || n.Attachment != nil {
		t.Errorf("interface %+v", n)
	}
	in := &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: n.NetworkInterfaceId}
	if _, err := w.ec2.DeleteNetworkInterface(t.Context(), in); err != nil {
		t.Error(err)
	}
	_, err = w.ec2.DeleteNetworkInterface(t.Context(), in)
	wantCode(t, err, "InvalidNetworkInterfaceID.NotFound")
	_, err = w.ec2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{"vol-x"}})
	wantCode(t, err, "InvalidVolumeID.Malformed")
}
