package ec2sim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"lapse/lease/ec2/ec2sim"
)

const image = "ami-0123456789abcdef0"

// world is a Sim that listens, with a client of its first region that never
// retries.
type world struct {
	*ec2sim.Sim
	url string
	ec2 *ec2.Client
}

func newWorld(t *testing.T, c ec2sim.Config) world {
	t.Helper()
	sim := ec2sim.New(c)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close) // first, so that hanging calls end
	w := world{Sim: sim, url: server.URL}
	w.ec2 = w.in(t, "us-east-1")
	return w
}

func (w world) in(t *testing.T, region string) *ec2.Client {
	t.Helper()
	return ec2.NewFromConfig(w.awsConfig(t, region), func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
}

func (w world) awsConfig(t *testing.T, region string) aws.Config {
	t.Helper()
	c, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(region), config.WithBaseEndpoint(w.url),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", "")),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil))
	if err != nil {
		t.Fatal(err)
	}
	c.HTTPClient = patientClient{awshttp.NewBuildableClient()}
	return c
}

// patientClient hides the request body's WriteTo, which is what loses the race
// that Config.Latency speaks of: Read copes with a body that was closed.
type patientClient struct{ aws.HTTPClient }

func (c patientClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}

// order returns a request for one instance, changed by each of change.
func order(change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}
	for _, c := range change {
		c(in)
	}
	return in
}

func count(least, most int32) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.MinCount, in.MaxCount = aws.Int32(least), aws.Int32(most) }
}

func token(s string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(s) }
}

func zone(s string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: aws.String(s)} }
}

func tagged(kind types.ResourceType, key, value string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{
			ResourceType: kind, Tags: []types.Tag{{Key: aws.String(key), Value: aws.String(value)}},
		})
	}
}

func spot(in *ec2.RunInstancesInput) {
	in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
}

// run launches, and returns the ids.
func (w world) run(t *testing.T, change ...func(*ec2.RunInstancesInput)) []string {
	t.Helper()
	out, err := w.ec2.RunInstances(t.Context(), order(change...))
	if err != nil {
		t.Fatal(err)
	}
	return idsOf(out.Instances)
}

func (w world) terminate(t *testing.T, ids ...string) {
	t.Helper()
	if _, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
}

// describe returns the instances that match, in one call.
func (w world) describe(t *testing.T, in *ec2.DescribeInstancesInput) []types.Instance {
	t.Helper()
	out, err := w.ec2.DescribeInstances(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var found []types.Instance
	for _, r := range out.Reservations {
		found = append(found, r.Instances...)
	}
	return found
}

func (w world) one(t *testing.T, id string) types.Instance {
	t.Helper()
	found := w.describe(t, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if len(found) != 1 {
		t.Fatalf("%d instances of id %s", len(found), id)
	}
	return found[0]
}

func idsOf(instances []types.Instance) []string {
	var ids []string
	for _, i := range instances {
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	return ids
}

// wantCode fails unless err is the API's refusal of that code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("got %v, want the code %s", err, code)
	}
}

func wantIDs(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// soon returns a context that ends before a test loses patience.
func soon(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
