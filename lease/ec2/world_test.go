package ec2_test

import (
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

type world struct{ ec2test.World }

func newWorld(t *testing.T, c ec2sim.Config) world {
	t.Helper()
	w := world{ec2test.Open(c)}
	t.Cleanup(w.Close)
	return w
}

// run launches one instance as a launch does, except for what change sets, and returns it as EC2 describes it.
func (w world) run(t *testing.T, change func(*awsec2.RunInstancesInput)) ec2sim.Instance {
	t.Helper()
	in := &awsec2.RunInstancesInput{
		ImageId: aws.String(ec2test.Image), InstanceType: types.InstanceTypeT3Micro, ClientToken: aws.String("job-7.1"),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: ec2.TagList(ourTags("job-7.1"))}},
	}
	change(in)
	made, err := w.Cloud(t, w.AWS(), ec2.Options{}).RunInstances(t.Context(), in, time.Minute)
	if err != nil || len(made) != 1 {
		t.Fatalf("run instances: %+v, %v", made, err)
	}
	i, _ := w.Sim.Instance(made[0].ID)
	return i
}

func ourTags(clientToken string) map[string]string {
	return map[string]string{lease.TagRegistry: ec2test.UUID, lease.TagLaunch: clientToken}
}
