package ec2sim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"lapse/lease/ec2/ec2sim"
)

func (w world) launch(ctx context.Context) error {
	_, err := w.ec2.RunInstances(ctx, order(token("a"), count(2, 2)))
	return err
}

// wantLost fails unless err is a connection that ended without an answer.
func wantLost(t *testing.T, err error) {
	t.Helper()
	var api smithy.APIError
	lost := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if errors.As(err, &api) || !lost {
		t.Errorf("got %v, want a lost connection", err)
	}
}

func TestFaultsBeforeTheActionPreventIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	w.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Effect: ec2sim.Refuse, Code: "Weird", Status: 418, Message: "m"})
	w.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Effect: ec2sim.Drop})
	remove := w.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse})

	wantCode(t, w.launch(t.Context()), "RequestLimitExceeded")
	wantCode(t, w.launch(t.Context()), "Weird")
	wantLost(t, w.launch(t.Context()))
	for range 3 {
		wantCode(t, w.launch(t.Context()), "InternalError")
	}
	if n := len(w.Instances()); n != 0 {
		t.Errorf("%d instances were made", n)
	}
	remove()
	remove()
	if err := w.launch(t.Context()); err != nil {
		t.Error(err)
	}
	var statuses []int
	for _, c := range w.Calls() {
		statuses = append(statuses, c.Status)
	}
	if want := []int{503, 418, 0, 500, 500, 500, 200}; len(statuses) != len(want) || statuses[0] != 503 || statuses[1] != 418 || statuses[2] != 0 {
		t.Errorf("statuses %v, want %v", statuses, want)
	}
}

func TestFaultsAfterTheActionLoseOnlyTheAnswer(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]ec2sim.Fault{
		"dropped":          {Effect: ec2sim.Drop},
		"answered falsely": {Effect: ec2sim.Refuse, Code: "InternalError", Status: 500},
		"hanging":          {Effect: ec2sim.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, ec2sim.Config{})
			f.Action, f.Times, f.Stage = "RunInstances", 1, ec2sim.AfterDeed
			w.Inject(f)
			if err := w.launch(soon(t, 200*time.Millisecond)); err == nil {
				t.Fatal("the answer arrived")
			}
			made := w.Instances()
			if len(made) != 2 {
				t.Fatalf("%d instances, want 2", len(made))
			}
			wantIDs(t, w.run(t, token("a"), count(2, 2)), []string{made[0].ID, made[1].ID})
			if n := len(w.Instances()); n != 2 {
				t.Errorf("the replay left %d instances, want 2", n)
			}
			if c := w.Calls()[0]; f.Effect != ec2sim.Refuse && c.Status != 0 || len(c.IDs) != 2 {
				t.Errorf("call %+v", c)
			}
		})
	}
}

func TestFaultsAfterTheActionDoNotAffectRefusedCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Inject(ec2sim.Fault{Action: "TerminateInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop})
	terminate := func(id string) error {
		_, err := w.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		return err
	}
	wantCode(t, terminate("i-00000000"), "InvalidInstanceID.NotFound")
	wantLost(t, terminate(w.run(t)[0]))
}

func TestHookRunsAfterTheAction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	var before, after int
	w.Inject(ec2sim.Fault{Action: "RunInstances", Hook: func() { before = len(w.Instances()) }})
	w.Inject(ec2sim.Fault{Action: "RunInstances", Stage: ec2sim.AfterDeed, Hook: func() { after = len(w.Instances()) }})
	if err := w.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before != 0 || after != 2 {
		t.Errorf("hooks saw %d and %d instances, want 0 and 2", before, after)
	}
}

func TestMatchChoosesCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Inject(ec2sim.Fault{
		Match:  func(form url.Values) bool { return form.Get("ClientToken") == "a" },
		Effect: ec2sim.Refuse, Code: "Unavailable",
	})
	w.run(t, token("b"))
	wantCode(t, w.launch(t.Context()), "Unavailable")
}

func TestHangEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	hangs := make(chan struct{}, 2)
	w.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Hang, Hook: func() { hangs <- struct{}{} }})
	ctx, leave := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- w.launch(ctx) }()
	<-hangs
	if _, err := w.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil {
		t.Errorf("another call while one hangs: %v", err)
	}
	leave()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that left got %v", err)
	}
	go func() { result <- w.launch(t.Context()) }()
	<-hangs
	w.Close()
	wantLost(t, <-result)
	if n := len(w.Instances()); n != 0 {
		t.Errorf("%d instances were made", n)
	}
}

// A test that waits for a hook may count calls from then on.
func TestTheHookOfAnUnansweredCallRuns(t *testing.T) {
	t.Parallel()
	for name, effect := range map[string]ec2sim.Effect{"hanging": ec2sim.Hang, "dropped": ec2sim.Drop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			ctx, leave := context.WithCancel(t.Context())
			known := make(chan int, 1)
			w.Inject(ec2sim.Fault{Action: "RunInstances", Effect: effect, Times: 1, Hook: func() {
				known <- w.CallCounts()["RunInstances"]
				leave()
			}})
			if err := w.launch(ctx); err == nil {
				t.Error("a call that was never answered did not fail")
			}
			if n := <-known; n != 1 {
				t.Errorf("%d calls were known", n)
			}
		})
	}
}

func TestHangEndsAtTheServerWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	sim := ec2sim.New(ec2sim.Config{})
	ended := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	w := world{Sim: sim, url: server.URL}
	w.ec2 = w.in(t, "us-east-1")
	ctx, leave := context.WithCancel(t.Context())
	sim.Inject(ec2sim.Fault{Effect: ec2sim.Hang, Hook: leave})
	if err := w.launch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the client that left got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the call still hangs")
	}
}

// With the SDK's own retries the answer of a retry hides that the first call's
// was lost; it is the client token that makes this harmless.
func TestDefaultRetriesDoNotDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop})
	client := ec2.NewFromConfig(w.awsConfig(t, "us-east-1"))
	out, err := client.RunInstances(t.Context(), order()) // the SDK makes up a token
	if err != nil || len(out.Instances) != 1 || aws.ToString(out.Instances[0].ClientToken) == "" {
		t.Fatalf("got %+v, %v", out, err)
	}
	if n, calls := len(w.Instances()), w.CallCounts()["RunInstances"]; n != 1 || calls != 2 {
		t.Errorf("%d instances by %d calls, want 1 by 2", n, calls)
	}
}
