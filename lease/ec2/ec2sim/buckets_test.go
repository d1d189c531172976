package ec2sim_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"lapse/lease/ec2/ec2sim"
)

// Each action is called until it is refused, then as often as a second gives
// tokens back.
func TestEveryActionHasItsBucket(t *testing.T) {
	t.Parallel()
	const nothing = "i-0123456789abcdef0"
	filter := []types.Filter{{Name: aws.String("tag-key"), Values: []string{"k"}}}
	for name, c := range map[string]struct {
		size, refill int
		call         func(world) error
	}{
		"RunInstances": {5, 2, func(w world) error { return w.launch(t.Context()) }},
		"TerminateInstances": {100, 5, func(w world) error {
			_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{nothing}})
			return err
		}},
		"DescribeInstances, all": {50, 10, func(w world) error {
			_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
			return err
		}},
		"DescribeInstances, by id": {50, 10, func(w world) error {
			_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{nothing}})
			return err
		}},
		"DescribeInstances, filtered": {100, 20, func(w world) error {
			_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: filter})
			return err
		}},
		"DescribeInstances, in pages": {100, 20, func(w world) error {
			_, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
			return err
		}},
		"DescribeVolumes, all": {50, 10, func(w world) error {
			_, err := w.ec2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{})
			return err
		}},
		"CreateTags": {100, 10, func(w world) error {
			_, err := w.ec2.CreateTags(t.Context(), &ec2.CreateTagsInput{
				Resources: []string{nothing}, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}},
			})
			return err
		}},
		"DeleteNetworkInterface": {100, 5, func(w world) error {
			_, err := w.ec2.DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: aws.String("eni-01234567")})
			return err
		}},
		"CancelSpotInstanceRequests": {50, 5, func(w world) error {
			_, err := w.ec2.CancelSpotInstanceRequests(t.Context(), &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-01234567"}})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := newClock()
			w := newWorld(t, ec2sim.Config{Now: now.Now, Throttle: true, Latency: -1})
			until := func() int {
				for n := 0; ; n++ {
					var answer *awshttp.ResponseError
					if err := c.call(w); errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusServiceUnavailable {
						wantCode(t, err, "RequestLimitExceeded")
						return n
					}
				}
			}
			burst := until()
			now.pass(time.Second)
			if refill := until(); burst != c.size || refill != c.refill {
				t.Errorf("%d calls at once and %d a second, want %d and %d", burst, refill, c.size, c.refill)
			}
			now.pass(time.Hour)
			if again := until(); again != c.size {
				t.Errorf("%d calls after an hour, want %d", again, c.size)
			}
		})
	}
}

func TestInstancesAreCountedToo(t *testing.T) {
	t.Parallel()
	now := newClock()
	w := newWorld(t, ec2sim.Config{Now: now.Now, Throttle: true})
	ids := append(w.run(t, count(500, 500)), w.run(t, count(500, 500))...)
	_, err := w.ec2.RunInstances(t.Context(), order())
	wantCode(t, err, "RequestLimitExceeded")
	now.pass(time.Second)
	_, err = w.ec2.RunInstances(t.Context(), order(count(3, 3)))
	wantCode(t, err, "RequestLimitExceeded")
	extra := w.run(t, count(2, 2))
	w.terminate(t, ids...)
	end := func(ids ...string) error {
		_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
		return err
	}
	wantCode(t, end(extra...), "RequestLimitExceeded")
	for _, id := range extra {
		if i, _ := w.Instance(id); i.State != ec2sim.Running {
			t.Errorf("a throttled call made %s %s", id, i.State)
		}
	}
	_, err = w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: extra, DryRun: aws.Bool(true)})
	wantCode(t, err, "DryRunOperation")
	now.pass(100 * time.Millisecond)
	if err := end(extra...); err != nil {
		t.Errorf("2 instances 100 ms later: %v", err)
	}
}

func TestBucketsAreThoseOfARegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Now: newClock().Now, Throttle: true})
	for range 5 {
		w.run(t)
	}
	wantCode(t, w.launch(t.Context()), "RequestLimitExceeded")
	if _, err := w.in(t, "eu-west-1").RunInstances(t.Context(), order()); err != nil {
		t.Error(err)
	}
	if _, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil {
		t.Errorf("another action: %v", err)
	}
	if last := w.Calls()[5]; last.Status != http.StatusServiceUnavailable || last.Code != "RequestLimitExceeded" {
		t.Errorf("call %+v", last)
	}
}

func TestWithoutThrottleNothingIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Now: newClock().Now})
	for range 10 {
		w.run(t, count(200, 200))
	}
}

func TestAFastClockMovesEverything(t *testing.T) {
	t.Parallel()
	const speed = 3600
	now := ec2sim.Fast(speed)
	began, real := now(), time.Now()
	w := newWorld(t, ec2sim.Config{Now: now, Throttle: true, PendingFor: 20 * time.Minute, ShuttingDownFor: time.Minute})
	id := w.run(t)[0]
	for w.one(t, id).State.Name != types.InstanceStateNameRunning {
		if time.Since(real) > 10*time.Second {
			t.Fatal("still pending")
		}
	}
	passed := now().Sub(began)
	if ideal := time.Since(real) * speed; passed < 20*time.Minute || passed > ideal+time.Second {
		t.Errorf("%s passed, of at most %s", passed, ideal)
	}
	for range 50 { // as many as the bucket holds: each was returned in between
		w.one(t, id)
	}
	answer, err := http.Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	served, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || now().Sub(served) > time.Hour || served.Before(began.Add(20*time.Minute-time.Second)) {
		t.Errorf("EC2 says it is %s (%v), the clock says %s", served, err, now())
	}
}
