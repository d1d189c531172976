package ec2sim_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

func (w world) describing(t *testing.T, ids ...string) error {
	t.Helper()
	in := &ec2.DescribeInstancesInput{}
	if len(ids) > 0 {
		in.Filters = []types.Filter{{Name: aws.String("instance-id"), Values: ids}}
	}
	_, err := w.ec2.DescribeInstances(t.Context(), in)
	return err
}

func TestAZoneOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	down, up := w.run(t, zone("us-east-1a"))[0], w.run(t, zone("us-east-1b"))[0]
	end := w.Outage("us-east-1", "us-east-1a")

	wantCode(t, w.describing(t), "Unavailable")
	wantCode(t, w.describing(t, up, down), "Unavailable")
	wantCode(t, w.tag(t, down, "v"), "Unavailable")
	_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{down}})
	wantCode(t, err, "Unavailable")
	_, err = w.ec2.RunInstances(t.Context(), order(zone("us-east-1a")))
	wantCode(t, err, "InsufficientInstanceCapacity")
	_, err = w.ec2.RunInstances(t.Context(), order(func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String(w.SubnetID("us-east-1a")) }))
	wantCode(t, err, "InsufficientInstanceCapacity")

	if err := w.describing(t, up); err != nil {
		t.Errorf("describe an instance of another zone: %v", err)
	}
	if _, err := w.ec2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{}); err != nil {
		t.Errorf("list volumes: %v", err)
	}
	if _, err := w.in(t, "eu-west-1").DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil {
		t.Errorf("list another region: %v", err)
	}
	w.terminate(t, up)
	w.run(t, zone("us-east-1b"))

	end()
	if err := w.describing(t); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if i, _ := w.Instance(down); i.State != ec2sim.Running {
		t.Errorf("the instance in the zone is %s", i.State)
	}
}

func TestAFaultOfOneRegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Inject(ec2sim.Fault{Region: "eu-west-1", Effect: ec2sim.Refuse})
	if err := w.describing(t); err != nil {
		t.Error(err)
	}
	_, err := w.in(t, "eu-west-1").DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	wantCode(t, err, "InternalError")
}

func TestAZoneThatDoesNotOfferAType(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.SetOffered("us-east-1", "us-east-1a", "t3.micro", false)
	_, err := w.ec2.RunInstances(t.Context(), order(zone("us-east-1a")))
	wantCode(t, err, "Unsupported")
	for _, id := range append(w.run(t), w.run(t, zone("us-east-1b"))...) {
		if i, _ := w.Instance(id); i.Zone != "us-east-1b" {
			t.Errorf("%s is in %s", id, i.Zone)
		}
	}
	w.SetOffered("us-east-1", "us-east-1a", "t3.micro", true)
	w.run(t, zone("us-east-1a"))
	for _, name := range []string{"us-east-1a", "us-east-1b", "us-east-1c"} {
		w.SetOffered("us-east-1", name, "t3.micro", false)
	}
	_, err = w.ec2.RunInstances(t.Context(), order())
	wantCode(t, err, "Unsupported")
}

func TestShortAndEmptyPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{PageSizes: []int{0, 3, 0, 0, 9}})
	made := w.run(t, count(10, 10))
	in := &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)}
	var sizes []int
	var seen []string
	tokens := map[string]bool{}
	for {
		out, err := w.ec2.DescribeInstances(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		var page []string
		for _, r := range out.Reservations {
			page = append(page, idsOf(r.Instances)...)
		}
		sizes, seen = append(sizes, len(page)), append(seen, page...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
		if tokens[*in.NextToken] {
			t.Fatalf("token %s again", *in.NextToken)
		}
		tokens[*in.NextToken] = true
	}
	wantIDs(t, seen, made)
	want := []int{0, 3, 0, 0, 5, 0, 2}
	for n := range want {
		if len(sizes) != len(want) || sizes[n] != want[n] {
			t.Fatalf("pages of %v, want %v", sizes, want)
		}
	}
	if all := w.describe(t, &ec2.DescribeInstancesInput{}); len(all) != 10 {
		t.Errorf("%d instances where no pages were asked for", len(all))
	}
}
