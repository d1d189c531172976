package ec2sim_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

// cli runs aws against a Sim and returns its answer.
func (w world) cli(t *testing.T, args ...string) (answer map[string]any, failure string) {
	t.Helper()
	args = append(args, "--endpoint-url", w.url, "--output", "json")
	cmd := exec.CommandContext(t.Context(), "aws", args...)
	cmd.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
		"AWS_EC2_METADATA_DISABLED=true")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, errs.String()
	}
	if out.Len() > 0 {
		if err := json.Unmarshal([]byte(out.String()), &answer); err != nil {
			t.Fatalf("aws %v: %v in %s", args, err, out.String())
		}
	}
	return answer, ""
}

// dig follows names and list positions down an answer.
func dig(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch key := step.(type) {
		case string:
			v = v.(map[string]any)[key]
		case int:
			v = v.([]any)[key]
		}
	}
	return v
}

// newCLI returns a Sim and a function that runs aws against it and fails the
// test if that fails. It skips the test where there is no aws.
func newCLI(t *testing.T) (world, func(args ...string) map[string]any) {
	t.Helper()
	if _, err := exec.LookPath("aws"); err != nil {
		missing(t, "the AWS CLI", "what it makes of the answers")
	}
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{"/img": image}})
	return w, func(args ...string) map[string]any {
		t.Helper()
		answer, failure := w.cli(t, args...)
		if failure != "" {
			t.Fatalf("aws %v: %s", args, failure)
		}
		return answer
	}
}

func TestAWSCLI(t *testing.T) {
	t.Parallel()
	w, do := newCLI(t)
	refused := func(code string, args ...string) {
		t.Helper()
		if _, failure := w.cli(t, args...); !strings.Contains(failure, "("+code+")") {
			t.Errorf("aws %v: %q, want %s", args, failure, code)
		}
	}
	if empty := do("ec2", "describe-instances"); len(dig(t, empty, "Reservations").([]any)) != 0 {
		t.Errorf("instances from the start: %v", empty)
	}
	launch := []string{
		"ec2", "run-instances", "--image-id", "resolve:ssm:/img", "--instance-type", "t3.micro", "--count", "1:2",
		"--client-token", "cli.1", "--placement", "AvailabilityZone=us-east-1b",
		"--tag-specifications", "ResourceType=instance,Tags=[{Key=k,Value=v}]",
	}
	id := dig(t, do(launch...), "Instances", 0, "InstanceId").(string)
	if again := dig(t, do(launch...), "Instances", 0, "InstanceId"); again != id {
		t.Errorf("the second launch made %v, want %v", again, id)
	}
	refused("IdempotentParameterMismatch", append(launch, "--key-name", "x")...)
	seen := dig(t, do("ec2", "describe-instances", "--filters", "Name=tag:k,Values=v*"), "Reservations", 0, "Instances", 0)
	if dig(t, seen, "ClientToken") != "cli.1" || dig(t, seen, "Placement", "AvailabilityZoneId") != "use1-az2" ||
		dig(t, seen, "State", "Name") != "running" || dig(t, seen, "ImageId") != image {
		t.Errorf("described as %v", seen)
	}
	do("ec2", "create-tags", "--resources", id, "--tags", "Key=a,Value=b")
	volume := dig(t, seen, "BlockDeviceMappings", 0, "Ebs", "VolumeId").(string)
	refused("VolumeInUse", "ec2", "delete-volume", "--volume-id", volume)
	w.Protect(id, true)
	refused("OperationNotPermitted", "ec2", "terminate-instances", "--instance-ids", id)
	w.Protect(id, false)
	if s := dig(t, do("ec2", "terminate-instances", "--instance-ids", id),
		"TerminatingInstances", 0, "CurrentState", "Name"); s != "shutting-down" {
		t.Errorf("terminating: %v", s)
	}
	refused("InvalidInstanceID.NotFound", "ec2", "terminate-instances", "--instance-ids", "i-00000000")
	if caller := do("sts", "get-caller-identity"); dig(t, caller, "Account") != "123456789012" {
		t.Errorf("caller %v", caller)
	}
	if p := do("ssm", "get-parameter", "--name", "/img"); dig(t, p, "Parameter", "Value") != image {
		t.Errorf("parameter %v", p)
	}
}

// Each step names an action, what it is given, and where in the CLI's answer
// which value must be.
func TestAWSCLIKnowsEveryAnswer(t *testing.T) {
	t.Parallel()
	w, do := newCLI(t)
	w.AddTemplateVersion("us-east-1", "web", map[string]string{"ImageId": image})
	id := w.run(t)[0]
	request := w.spotRequestOf(t, w.run(t, spot)[0])
	volume, port := w.Volumes()[0].ID, w.Interfaces()[0].ID
	at := func(path ...any) []any { return path }
	for _, step := range []struct {
		args []string
		path []any
		want any
	}{
		{[]string{"create-tags", "--resources", id, volume, port, "--tags", "Key=a,Value=1", "Key=b,Value=2"}, nil, nil},
		{[]string{"delete-tags", "--resources", id, volume, "--tags", "Key=a"}, nil, nil},
		{[]string{"describe-volumes", "--filters", "Name=tag:b,Values=2"}, at("Volumes", 0, "Attachments", 0, "InstanceId"), id},
		{
			[]string{"describe-network-interfaces", "--network-interface-ids", port},
			at("NetworkInterfaces", 0, "Attachment", "InstanceId"), id,
		},
		{
			[]string{"describe-spot-instance-requests", "--filters", "Name=state,Values=active"},
			at("SpotInstanceRequests", 0, "SpotInstanceRequestId"), request,
		},
		{
			[]string{"cancel-spot-instance-requests", "--spot-instance-request-ids", request},
			at("CancelledSpotInstanceRequests", 0, "State"), "cancelled",
		},
		{
			[]string{"describe-launch-template-versions", "--launch-template-name", "web", "--versions", "$Latest"},
			at("LaunchTemplateVersions", 0, "LaunchTemplateData", "ImageId"), image,
		},
	} {
		answer := do(append([]string{"ec2"}, step.args...)...)
		if step.path == nil {
			continue
		}
		if got := dig(t, answer, step.path...); got != step.want {
			t.Errorf("aws ec2 %v: %v is %v, want %v", step.args, step.path, got, step.want)
		}
	}
	if i, _ := w.Instance(id); len(i.Tags) != 1 || i.Tags["b"] != "2" {
		t.Errorf("tags %v", i.Tags)
	}
	w.terminate(t, id)
	kept := w.keepVolumeAndInterface(t)
	do("ec2", "delete-volume", "--volume-id", kept[0])
	do("ec2", "delete-network-interface", "--network-interface-id", kept[1])
	if n := len(w.Volumes()) + len(w.Interfaces()); n != 2 {
		t.Errorf("%d volumes and interfaces are left, want the spot instance's 2", n)
	}
}

func (w world) spotRequestOf(t *testing.T, id string) string {
	t.Helper()
	i, _ := w.Instance(id)
	return i.SpotRequest
}

// keepVolumeAndInterface returns the ids of a volume and an interface that
// outlived their instance.
func (w world) keepVolumeAndInterface(t *testing.T) []string {
	t.Helper()
	id := w.run(t, func(in *ec2.RunInstancesInput) {
		in.BlockDeviceMappings = []types.BlockDeviceMapping{{
			DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{DeleteOnTermination: aws.Bool(false)},
		}}
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), DeleteOnTermination: aws.Bool(false),
		}}
	})[0]
	i, _ := w.Instance(id)
	w.terminate(t, id)
	return []string{i.Volumes[0], i.Interfaces[0]}
}
