package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lapse/janitor"
	"lapse/janitor/plan"
	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/launch"
	"lapse/lease/leasetest"
)

// crash is a launcher's death and what comes of it: a registry, an EC2, and one clock for all of them.
type crash struct {
	t     *testing.T
	store *leasetest.Store
	sim   *ec2sim.Sim
	cloud *ec2.Cloud
	ahead atomic.Int64
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	return newCrashIn(t, ec2sim.Config{}, nil, 0)
}

// newCrashIn is newCrash in an EC2 of another kind, whose limits let through speed times as much; 0 is as fast as EC2.
func newCrashIn(t *testing.T, world ec2sim.Config, retryer func() aws.Retryer, speed float64) *crash {
	t.Helper()
	c := &crash{t: t, store: leasetest.NewStore()}
	world.Now = c.now
	c.sim = ec2sim.New(world)
	server := httptest.NewServer(c.sim)
	t.Cleanup(func() { c.sim.Close(); server.Close() })
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""),
		Retryer: retryer,
	}
	var err error
	if c.cloud, err = ec2.Open(t.Context(), cfg, "", ec2.Options{Now: c.now, Speed: speed}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.PutRegistry(t.Context(), lease.NewRegistry(c.now(), "0198c5a0-0000-7000-8000-000000000000", lease.ModeArmed)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *crash) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *crash) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// launch launches three, with room for two in the first zone, and returns whether the launcher lived to tell.
func (c *crash) launch(ctx context.Context) error {
	c.sim.SetCapacity("us-east-1", "us-east-1a", "t3.micro", 2)
	_, err := launch.New(c.cloud, c.store, launch.Config{Actor: "test", Now: c.now, Pause: time.Millisecond}).Launch(ctx, launch.Request{
		Token: "three", Count: 3, Term: 24 * time.Hour, ImageID: "ami-0123456789abcdef0", InstanceTypes: []string{"t3.micro"},
		Subnets: []string{c.sim.SubnetID("us-east-1a"), c.sim.SubnetID("us-east-1b")}, Unattended: true,
	})
	return err
}

// settle lets the launch window pass, and then as many sweeps as it takes to find what was left, twice.
func (c *crash) settle() {
	c.t.Helper()
	c.pass(16 * time.Minute)
	c.sweeps(4)
}

// sweeps makes n sweeps, a minute apart.
func (c *crash) sweeps(n int) {
	c.t.Helper()
	for range n {
		j, err := janitor.New(janitor.Config{
			Campaign: func(ctx context.Context) (janitor.Leadership, error) {
				return c.store.Campaign(ctx, "janitor", time.Minute)
			},
			Clouds: []janitor.Cloud{c.cloud}, Policy: plan.DefaultPolicy(), Schedule: "@every 1m", Now: c.now,
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			c.t.Fatal(err)
		}
		if _, _, err := j.Sweep(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		c.pass(time.Minute)
	}
}

// check fails if an instance lives without a lease, or if there were ever more than three.
func (c *crash) check(when string) {
	c.t.Helper()
	all := c.sim.Instances()
	if len(all) > 3 {
		c.t.Errorf("%s: %d instances were made for a launch of three", when, len(all))
	}
	for _, i := range all {
		l, err := c.store.Lease(c.t.Context(), i.ID)
		alive := i.State != ec2sim.Terminated && i.State != ec2sim.ShuttingDown
		if alive && (err != nil || l.State != lease.StateActive) {
			c.t.Errorf("%s: %s is %s, and its lease %q (%v)", when, i.ID, i.State, l.State, err)
		}
		if !alive && err == nil && l.Cause != lease.CauseFailedCreation {
			c.t.Errorf("%s: %s is %s for %q", when, i.ID, i.State, l.Cause)
		}
	}
	if l, err := c.store.Launch(c.t.Context(), "three"); err == nil && l.State == lease.LaunchOpen {
		c.t.Errorf("%s: the launch is still open", when)
	}
}

// TestALauncherThatDiesAtAnyStepLeavesNothing kills a launcher at every call to the registry and to EC2, before and
// after the deed, and resumes none: what it made is bound, or ended by the janitor within its bound.
func TestALauncherThatDiesAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	dead := errors.New("dead")
	deaths := 0
	for step := int64(1); ; step++ {
		c := newCrash(t)
		ctx, die := context.WithCancel(t.Context())
		var steps atomic.Int64
		var alive atomic.Bool
		alive.Store(true)
		c.store.Fault = func(string) error {
			if alive.Load() && steps.Add(1) < step {
				return nil
			}
			alive.Store(false)
			die()
			return dead
		}
		err := c.launch(ctx)
		c.store.Fault = nil
		if err == nil {
			c.settle()
			c.check("alive")
			break
		}
		deaths++
		c.settle()
		c.check(fmt.Sprintf("dead at call %d to the registry", step))
	}
	for call := 1; call <= 3; call++ {
		for _, stage := range []ec2sim.Stage{ec2sim.BeforeDeed, ec2sim.AfterDeed} {
			c := newCrash(t)
			ctx, die := context.WithCancel(t.Context())
			if call > 1 {
				c.sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: call - 1, Stage: stage, Effect: ec2sim.Pass})
			}
			c.sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: stage, Effect: ec2sim.Drop, Hook: die})
			if err := c.launch(ctx); err != nil {
				deaths++
			}
			die()
			c.settle()
			c.check(fmt.Sprintf("dead at RunInstances %d, stage %d", call, stage))
		}
	}
	t.Logf("%d deaths", deaths)
	if deaths < 15 {
		t.Errorf("only %d deaths; the launcher has more steps than that", deaths)
	}
}
