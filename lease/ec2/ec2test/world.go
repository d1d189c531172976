// Package ec2test is the world in which the packages ec2 and launch are tested: EC2 over HTTP, and the real SDK before it.
package ec2test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
)

// What tests name.
const (
	UUID    = "11111111-2222-3333-4444-555555555555" // of the registry
	Account = "123456789012"
	Region  = "us-east-1"
	ZoneA   = "us-east-1a"
	ZoneB   = "us-east-1b"
	Image   = "ami-00000000000000001"
)

// T is what both tests and properties have.
type T interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// World is EC2 over HTTP.
type World struct {
	Sim   *ec2sim.Sim
	URL   string
	HTTP  *http.Client
	Close func()
}

// Open starts a world, which the caller closes.
func Open(c ec2sim.Config) World {
	sim := ec2sim.New(c)
	server := httptest.NewServer(sim)
	return World{Sim: sim, URL: server.URL, HTTP: server.Client(), Close: func() { sim.Close(); server.Close() }}
}

// Here is the location of the world.
func Here() lease.Location { return lease.Location{Account: Account, Region: Region} }

// AWS are settings that find the simulated EC2. Calls other than RunInstances are not retried, so that tests do not wait,
// unless the test sets another Retryer.
func (w World) AWS() aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: aws.String(w.URL), Credentials: Keys(),
		HTTPClient: w.HTTP, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// Keys are credentials of anybody.
func Keys() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
	})
}

// Cloud opens the simulated EC2.
func (w World) Cloud(t T, cfg aws.Config, o ec2.Options) *ec2.Cloud {
	t.Helper()
	cloud, err := ec2.Open(t.Context(), cfg, "", o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return cloud
}

// Sent counts the calls of an action.
func (w World) Sent(action string) int { return w.Sim.CallCounts()[action] }

// WantAs wants an error of a type, and returns it.
func WantAs[E error](t T, err error) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error = %v (%T), want %T", err, err, want)
	}
	return want
}

// WantError wants an error of a type.
func WantError[E error](t T, err error) {
	t.Helper()
	_ = WantAs[E](t, err)
}
