package ec2sim_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

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

func TestAWSCLI(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed: what it makes of the answers is NOT tested")
	}
	w := newWorld(t, ec2sim.Config{Parameters: map[string]string{"/img": image}})
	do := func(args ...string) map[string]any {
		t.Helper()
		answer, failure := w.cli(t, args...)
		if failure != "" {
			t.Fatalf("aws %v: %s", args, failure)
		}
		return answer
	}
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
	do("ec2", "modify-instance-attribute", "--instance-id", id, "--disable-api-termination")
	refused("OperationNotPermitted", "ec2", "terminate-instances", "--instance-ids", id)
	do("ec2", "modify-instance-attribute", "--instance-id", id, "--attribute", "disableApiTermination", "--value", "false")
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
