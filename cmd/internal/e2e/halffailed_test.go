//go:build e2e

package e2e

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
)

// TestE2EKeyPairHalfFailedLaunch asks moto for more instances than a subnet has addresses: moto answers with an error, and has
// created some of them by then, with their volumes. What it created is bound, or gone in the end.
func TestE2EKeyPairHalfFailedLaunch(t *testing.T) {
	t.Parallel()
	w := newKeyedWorld(t, nil)
	before := w.volumes()
	vpc, err := w.ec2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := w.ec2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.9.0.0/28")})
	if err != nil {
		t.Fatal(err)
	}
	args := slices.Replace(w.keyed("half"), 4, 5, "20")
	args = append(args, "--subnet-id", aws.ToString(subnet.Subnet.SubnetId), "--timeout", "30s")
	out, err := w.command(w.aws, "lease", args...).Output()
	made := w.alive()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed {
		t.Fatalf("moto has room for 20 instances in a /28 (%v): %s", err, out)
	}
	t.Logf("exit code %d, %d instances; it said:\n%s", exit.ExitCode(), len(made), exit.Stderr)
	w.settles()
	launch, err := w.store.Launch(t.Context(), "half")
	if err != nil {
		t.Fatal(err)
	}
	alive, volumes := w.alive(), w.volumes()
	bound := 0
	for _, id := range alive {
		if l, err := w.store.Lease(t.Context(), id); err == nil && l.State == lease.StateActive && l.Launch == "half" {
			bound++
		}
	}
	t.Logf("launch %s, %d instances bound, %d volumes", launch.State, bound, len(volumes)-len(before))
	if nobodys := len(w.nobodysKeys()); len(alive) != bound+nobodys || bound > 20 {
		t.Errorf("%d instances run, of which %d are bound and %d nobody's", len(alive), bound, nobodys)
	}
	if left := len(volumes) - len(before); left != bound {
		t.Errorf("%d volumes are left of a launch with %d instances: %s", left, bound, strings.Join(volumes, ", "))
	}
}

// volumes are the ids of all volumes.
func (w *world) volumes() []string {
	w.t.Helper()
	out, err := w.ec2.DescribeVolumes(w.t.Context(), &ec2.DescribeVolumesInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, v := range out.Volumes {
		ids = append(ids, aws.ToString(v.VolumeId))
	}
	slices.Sort(ids)
	return ids
}
