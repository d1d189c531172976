package ec2_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

func TestEachAttemptOfACallIsObserved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	id := w.herd(1)[0]
	cfg := w.AWS()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 3
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	var mu sync.Mutex
	var told []string
	cloud := w.Cloud(t, cfg, ec2.Options{Share: 1, Observed: func(location lease.Location, action, code string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if location != ec2test.Here() || took <= 0 {
			t.Errorf("%s of %s took %s", action, location, took)
		}
		told = append(told, action+" "+code)
	}})
	w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Times: 1, Effect: ec2sim.Refuse, Code: "InternalError"})
	w.Sim.Inject(ec2sim.Fault{Action: "DescribeInstances", Times: 1, Effect: ec2sim.Drop})
	if _, err := cloud.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Times: 1, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
	cloud.Terminate(t.Context(), []string{id})
	cloud.Terminate(t.Context(), []string{id})
	want := []string{
		"DescribeInstances InternalError", "DescribeInstances unreachable", "DescribeInstances OK",
		"TerminateInstances UnauthorizedOperation", "TerminateInstances OK",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}
