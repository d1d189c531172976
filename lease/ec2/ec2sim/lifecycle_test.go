package ec2sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

func (w world) state(t *testing.T, id string) ec2sim.State {
	t.Helper()
	i, ok := w.Instance(id)
	if !ok {
		t.Fatalf("no instance %s", id)
	}
	return i.State
}

func TestTerminateDeletesVolumesAndInterfaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, func(in *ec2.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(5), DeleteOnTermination: aws.Bool(false)}},
			{DeviceName: aws.String("/dev/sdg"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(6)}},
		}
	})[0]
	if n := len(w.Volumes()); n != 3 {
		t.Fatalf("%d volumes, want 3", n)
	}
	kept := w.Volumes()[1]
	_, err := w.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &kept.ID})
	wantCode(t, err, "VolumeInUse")
	_, err = w.ec2.DeleteNetworkInterface(t.Context(),
		&ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &w.Interfaces()[0].ID})
	wantCode(t, err, "InvalidNetworkInterface.InUse")

	out, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	change := out.TerminatingInstances[0]
	if change.PreviousState.Name != "running" || change.CurrentState.Name != "shutting-down" {
		t.Errorf("change %v → %v", change.PreviousState.Name, change.CurrentState.Name)
	}
	i := w.one(t, id)
	if i.State.Name != "terminated" || len(i.BlockDeviceMappings) != 0 || aws.ToString(i.StateTransitionReason) == "" {
		t.Errorf("after: %+v", i)
	}
	left := w.Volumes()
	if len(left) != 1 || left[0].ID != kept.ID || left[0].State != "available" || left[0].SizeGB != 5 {
		t.Errorf("volumes left: %+v", left)
	}
	if n := len(w.Interfaces()); n != 0 {
		t.Errorf("%d interfaces left", n)
	}
	if _, err := w.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &kept.ID}); err != nil {
		t.Error(err)
	}
	_, err = w.ec2.DeleteVolume(t.Context(), &ec2.DeleteVolumeInput{VolumeId: &kept.ID})
	wantCode(t, err, "InvalidVolume.NotFound")
	w.terminate(t, id) // again, which is no error
}

func TestTerminateRefusesTheWholeCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t)[0]
	many := make([]string, 1001)
	for n := range many {
		many[n] = fmt.Sprintf("i-%08x", n)
	}
	for name, c := range map[string]struct {
		code string
		ids  []string
	}{
		"one unknown":   {"InvalidInstanceID.NotFound", []string{id, "i-0123456789abcdef0"}},
		"one malformed": {"InvalidInstanceID.Malformed", []string{id, "i-xyz"}},
		"too many":      {"InvalidParameterValue", many},
		"none":          {"InvalidParameterCombination", []string{}},
	} {
		_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: c.ids})
		t.Log(name)
		wantCode(t, err, c.code)
	}
	_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}, DryRun: aws.Bool(true)})
	wantCode(t, err, "DryRunOperation")
	_, err = w.in(t, "eu-west-1").TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	wantCode(t, err, "InvalidInstanceID.NotFound")
	if s := w.state(t, id); s != ec2sim.Running {
		t.Errorf("the instance is %s", s)
	}
}

func TestAProtectedInstanceSparesItsZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	a, b := w.run(t, zone("us-east-1a"), count(2, 2)), w.run(t, zone("us-east-1b"), count(2, 2))
	w.Protect(b[0], true)
	_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: append(a, b...)})
	wantCode(t, err, "OperationNotPermitted")
	for id, want := range map[string]ec2sim.State{
		a[0]: ec2sim.Terminated, a[1]: ec2sim.Terminated, b[0]: ec2sim.Running, b[1]: ec2sim.Running,
	} {
		if got := w.state(t, id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	w.terminate(t, b[1]) // not named together with the protected one
	w.Protect(b[0], false)
	w.terminate(t, b[0])
}

func TestOutOfBand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	foreign := w.Create(ec2sim.Instance{
		Region: "eu-west-1", Zone: "eu-west-1c", ClientToken: "theirs", Tags: map[string]string{"lapse:registry": "other"},
	})
	foreign.Tags["changed"] = "outside"
	seen, ok := w.Instance(foreign.ID)
	if !ok || seen.Tags["changed"] != "" || seen.ZoneID != "euw1-az3" || len(seen.Volumes) != 1 || seen.State != ec2sim.Running {
		t.Errorf("created %+v", seen)
	}
	stuck := w.run(t)[0]
	w.SetState(stuck, ec2sim.ShuttingDown)
	w.terminate(t, stuck)
	if s := w.one(t, stuck).State.Name; s != "shutting-down" {
		t.Errorf("a set state moved to %s", s)
	}
	w.SetState(stuck, ec2sim.Terminated)
	if n := len(w.Volumes()); n != 1 {
		t.Errorf("%d volumes, want that of the foreign instance alone", n)
	}
	w.Protect(foreign.ID, true)
	_, err := w.in(t, "eu-west-1").TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{foreign.ID}})
	wantCode(t, err, "OperationNotPermitted")
	w.SetTags(foreign.ID, map[string]string{"new": "1"})
	if i, _ := w.Instance(foreign.ID); len(i.Tags) != 1 || i.Tags["new"] != "1" {
		t.Errorf("tags %v", i.Tags)
	}
	if w.SetState("i-00000000", ec2sim.Running) || w.Protect("i-00000000", true) {
		t.Error("an unknown instance was changed")
	}

	calls := w.Calls()
	if len(calls) != 4 || calls[0].Action != "RunInstances" || calls[0].IDs[0] != stuck || calls[0].Region != "us-east-1" {
		t.Errorf("calls %+v", calls)
	}
	if last := calls[3]; last.Code != "OperationNotPermitted" || last.Status != 400 || last.Region != "eu-west-1" {
		t.Errorf("last call %+v", last)
	}
	if n := w.CallCounts()["TerminateInstances"]; n != 2 {
		t.Errorf("%d calls of TerminateInstances, want 2", n)
	}
}

func TestStopProtectionProtectsFromTerminationToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.run(t, func(in *ec2.RunInstancesInput) { in.DisableApiStop = aws.Bool(true) })[0]
	_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	wantCode(t, err, "OperationNotPermitted")
	if !strings.Contains(err.Error(), "'disableApiStop'") {
		t.Errorf("EC2 says %v", err)
	}
}
