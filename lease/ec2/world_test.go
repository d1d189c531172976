package ec2_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/leasetest"
)

const (
	uuid    = "11111111-2222-3333-4444-555555555555"
	account = "123456789012"
	region  = "us-east-1"
	zoneA   = "us-east-1a"
	zoneB   = "us-east-1b"
	image   = "ami-00000000000000001"
)

// testingT is what both tests and properties have.
type testingT interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// world is EC2 over HTTP and an armed registry whose janitor swept the location just now.
type world struct {
	sim   *ec2sim.Sim
	store *leasetest.Store
	url   string
	http  *http.Client
	close func()
}

func newWorld(t *testing.T, c ec2sim.Config) world {
	t.Helper()
	w := openWorld(c)
	t.Cleanup(w.close)
	return w
}

func openWorld(c ec2sim.Config) world {
	sim := ec2sim.New(c)
	server := httptest.NewServer(sim)
	w := world{sim: sim, store: leasetest.NewStore(), url: server.URL, http: server.Client()}
	w.close = func() { sim.Close(); server.Close() }
	w.put("registry", lease.NewRegistry(time.Now(), uuid, lease.ModeArmed))
	w.swept(time.Now())
	return w
}

func (w world) swept(at time.Time, locations ...lease.Location) {
	if locations == nil {
		locations = []lease.Location{here()}
	}
	w.put("checkpoint", lease.Checkpoint{Schema: lease.Schema, Sequence: 1, Time: at, NextSweep: at.Add(time.Minute), Locations: locations})
}

func (w world) put(kind string, record any) {
	data, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	w.store.Put(kind, "", data)
}

func here() lease.Location { return lease.Location{Account: account, Region: region} }

// aws are settings that find the simulated EC2. Calls other than RunInstances are not retried, so that tests do not
// wait, unless retry is set.
func (w world) aws() aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(w.url), Credentials: keys(),
		HTTPClient: w.http, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func keys() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
	})
}

func (w world) cloud(t testingT, cfg aws.Config, o ec2.Options) *ec2.Cloud {
	t.Helper()
	cloud, err := ec2.Open(t.Context(), cfg, "", o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return cloud
}

func quick() ec2.LauncherConfig {
	return ec2.LauncherConfig{Actor: "test:ada", Pause: time.Millisecond, CallTimeout: 10 * time.Second}
}

func (w world) launcher(t testingT) *ec2.Launcher {
	t.Helper()
	return ec2.NewLauncher(w.cloud(t, w.aws(), ec2.Options{}), w.store, quick())
}

// request asks for count instances in zone A.
func (w world) request(token string, count int) ec2.Request {
	return ec2.Request{
		Token: token, Count: count, Term: time.Hour, MaxTerm: 2 * time.Hour, HeartbeatTimeout: time.Minute, Holder: "ada",
		Labels: map[string]string{"job": "7"}, Tags: map[string]string{"Name": "worker"},
		ImageID: image, InstanceTypes: []string{"t3.micro"}, Subnets: []string{w.sim.SubnetID(zoneA)},
		Patience: 100 * time.Millisecond,
	}
}

func (w world) capacity(zone string, n int) { w.sim.SetCapacity(region, zone, "t3.micro", n) }

// made are the instances of a launch by EC2's own account, whatever their state.
func (w world) made(token string) []ec2sim.Instance {
	return slices.DeleteFunc(w.sim.Instances(), func(i ec2sim.Instance) bool {
		tag := i.Tags[lease.TagLaunch]
		return len(tag) <= len(token) || tag[:len(token)+1] != token+"."
	})
}

// sent counts the calls of an action.
func (w world) sent(action string) int { return w.sim.CallCounts()[action] }

// stored is a launch's record.
func (w world) stored(t testingT, token string) lease.Launch {
	t.Helper()
	launch, err := w.store.Launch(t.Context(), token)
	if err != nil {
		t.Fatalf("read launch: %v", err)
	}
	return launch
}

// wantSound checks what holds at every moment: no more instances than asked for, each of them findable by the record.
func (w world) wantSound(t testingT, token string, count int) {
	t.Helper()
	made := w.made(token)
	if len(made) > count {
		t.Fatalf("%d instances of a launch of %d", len(made), count)
	}
	if len(made) == 0 {
		return
	}
	launch := w.stored(t, token)
	for _, i := range made {
		seen := lease.Instance{ID: i.ID, ClientToken: i.ClientToken, Tags: i.Tags}
		if _, ours := launch.Member(seen); !ours || !seen.ManagedBy(uuid) {
			t.Fatalf("instance %s (client token %q, tags %v) is not a member of %+v", i.ID, i.ClientToken, i.Tags, launch)
		}
	}
}

// wantBound checks that every instance of the launch has an active lease and is in the result.
func (w world) wantBound(t testingT, r ec2.Result) {
	t.Helper()
	bound := map[string]bool{}
	for _, l := range r.Leases {
		bound[l.InstanceID] = l.State == lease.StateActive
	}
	made := w.made(r.Launch.Token)
	if len(bound) != len(made) {
		t.Fatalf("%d leases of %d instances", len(bound), len(made))
	}
	for _, i := range made {
		if !bound[i.ID] {
			t.Fatalf("instance %s has no active lease", i.ID)
		}
	}
}

func wantAs[E error](t testingT, err error) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error = %v (%T), want %T", err, err, want)
	}
	return want
}

func wantError[E error](t testingT, err error) {
	t.Helper()
	_ = wantAs[E](t, err)
}
