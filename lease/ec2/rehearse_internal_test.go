package ec2

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease/ec2/ec2sim"
)

// The one call that must never go out in earnest, made by somebody who forgot to say DryRun.
func TestARehearsalWithoutDryRunIsNotSent(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	i := sim.Create(ec2sim.Instance{})
	client := ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""),
	})
	for name, in := range map[string]*ec2.TerminateInstancesInput{
		"nothing said": {InstanceIds: []string{i.ID}},
		"false":        {InstanceIds: []string{i.ID}, DryRun: aws.Bool(false)},
	} {
		r := rehearse(t.Context(), Need{Action: "TerminateInstances"}, client.TerminateInstances, in)
		if r.Answer != AnswerUnclear || !errors.Is(r.Err, errInEarnest) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if calls := sim.Calls(); len(calls) > 0 {
		t.Errorf("sent: %+v", calls)
	}
}
