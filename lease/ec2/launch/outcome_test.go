package launch_test

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

func TestALostAnswerIsFoundByReplaying(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ec2sim.Fault{
		"reset before the deed":          {Effect: ec2sim.Drop},
		"reset after the deed":           {Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed},
		"internal error before the deed": {Effect: ec2sim.Refuse, Code: "InternalError"},
		"internal error after the deed":  {Effect: ec2sim.Refuse, Code: "InternalError", Stage: ec2sim.AfterDeed},
		"unavailable after the deed":     {Effect: ec2sim.Refuse, Code: "Unavailable", Status: 503, Stage: ec2sim.AfterDeed},
		"no answer":                      {Effect: ec2sim.Hang, Stage: ec2sim.AfterDeed},
		"an answer of a proxy":           {Effect: ec2sim.Refuse, Code: "UnknownError", Status: 403, Stage: ec2sim.AfterDeed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			fault.Action, fault.Times = "RunInstances", 2
			w.Sim.Inject(fault)
			config := quick()
			if fault.Effect == ec2sim.Hang {
				config.CallTimeout = 500 * time.Millisecond
			}
			r := w.request("job-7", 3)
			r.Patience = 10 * time.Second
			result, err := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config).Launch(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Leases) != 3 || len(result.Launch.Attempts) != 1 || result.Launch.Last().Sends != 3 {
				t.Errorf("%d leases, attempts %+v", len(result.Leases), result.Launch.Attempts)
			}
			w.wantSound(t, "job-7", 3)
			w.wantBound(t, result)
		})
	}
}

func TestTheSDKDoesNotRetryRunInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "InternalError"})
	cfg := w.AWS()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 5; o.MaxBackoff = time.Millisecond })
	}
	r := w.request("job-7", 1)
	r.Patience = time.Nanosecond // one send, no replay
	_, err := launch.New(w.Cloud(t, cfg, ec2.Options{}), w.store, quick()).Launch(t.Context(), r)
	ec2test.WantError[*launch.UnknownOutcomeError](t, err)
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}

func TestAnOutcomeThatStaysUnknownIsReportedAndRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	mend := w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "InternalError", Stage: ec2sim.AfterDeed})
	l := w.launcher(t)
	for range 2 {
		_, err := l.Launch(t.Context(), w.request("job-7", 2))
		if e := ec2test.WantAs[*launch.UnknownOutcomeError](t, err); e.Token != "job-7" || e.Code != "InternalError" {
			t.Errorf("%+v", e)
		}
	}
	if a := w.stored(t, "job-7").Last(); !a.Doubtful || a.Outcome != "" || len(w.made("job-7")) != 2 {
		t.Errorf("attempt = %+v", a)
	}
	mend()
	result, err := l.Resume(t.Context(), "job-7", 0)
	if err != nil || !result.Resumed {
		t.Fatalf("resumed %t, %v", result.Resumed, err)
	}
	w.wantBound(t, result)
}

func TestARefusalAfterALostAnswerIsNotDefinite(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"InsufficientInstanceCapacity", "UnauthorizedOperation"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			mend := make(chan func(), 1)
			w.Sim.Inject(ec2sim.Fault{
				Action: "RunInstances", Times: 1, Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed,
				Hook: func() { mend <- w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: code}) },
			})
			l, r := w.launcher(t), w.request("job-7", 2)
			r.Patience = 3 * time.Second // for two sends at least, also on a machine that is busy
			_, err := l.Launch(t.Context(), r)
			if e := ec2test.WantAs[*launch.UnknownOutcomeError](t, err); e.Code != code {
				t.Errorf("%+v", e)
			}
			launch := w.stored(t, "job-7")
			if launch.State != lease.LaunchOpen || len(launch.Attempts) != 1 || launch.Last().Outcome != "" {
				t.Errorf("launch = %+v", launch)
			}
			(<-mend)()
			result, err := l.Resume(t.Context(), "job-7", 0)
			if err != nil || len(result.Leases) != 2 {
				t.Errorf("%d leases, %v", len(result.Leases), err)
			}
		})
	}
}

func TestProofOfAnEarlierSendIsNoRefusal(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"IdempotentParameterMismatch", "IdempotentInstanceTerminated"} {
		w := newWorld(t, ec2sim.Config{})
		w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: code})
		r := w.request("job-7", 2)
		r.Patience = time.Hour
		_, err := w.launcher(t).Launch(t.Context(), r)
		if e := ec2test.WantAs[*launch.UnknownOutcomeError](t, err); e.Code != code {
			t.Errorf("%+v", e)
		}
		launch := w.stored(t, "job-7")
		if a := launch.Last(); launch.State != lease.LaunchOpen || len(launch.Attempts) != 1 || a.Outcome != "" || !a.Doubtful {
			t.Errorf("launch = %+v", launch)
		}
		if n := w.Sent("RunInstances"); n != 1 {
			t.Errorf("%s: RunInstances was sent %d times", code, n)
		}
	}
}

func TestThrottlingIsADefiniteRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 3, Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	w.capacity(ec2test.ZoneA, 0)
	r := w.request("job-7", 1)
	r.Patience = 10 * time.Second
	_, err := w.launcher(t).Launch(t.Context(), r)
	if e := ec2test.WantAs[*launch.RefusedError](t, err); e.Code != "InsufficientInstanceCapacity" {
		t.Errorf("%+v", e)
	}
	if a := w.stored(t, "job-7").Last(); a.Sends != 1 || a.Doubtful || a.Outcome != lease.OutcomeRefused {
		t.Errorf("attempt = %+v", a)
	}
}

func TestThrottlingThatDoesNotEndIsUnfinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	_, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 1))
	if e := ec2test.WantAs[*launch.UnfinishedError](t, err); e.Token != "job-7" {
		t.Errorf("%+v", e)
	}
}

func TestARefusalIsFinal(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"UnauthorizedOperation", "InvalidAMIID.NotFound", "InsufficientInstanceCapacity", "Unsupported"} {
		w := newWorld(t, ec2sim.Config{})
		mend := w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: code, Message: "for a reason"})
		l := w.launcher(t)
		_, first := l.Launch(t.Context(), w.request("job-7", 1))
		if e := ec2test.WantAs[*launch.RefusedError](t, first); e.Code != code || e.Reason != code+": for a reason" {
			t.Errorf("%+v", e)
		}
		mend()
		sent := w.Sent("RunInstances")
		for range 5 {
			_, err := l.Launch(t.Context(), w.request("job-7", 1))
			if e := ec2test.WantAs[*launch.RefusedError](t, err); e.Error() != first.Error() {
				t.Errorf("again: %v, first: %v", e, first)
			}
		}
		if n := w.Sent("RunInstances"); n != sent || n != 1 || len(w.Sim.Instances()) != 0 {
			t.Errorf("%s: sent %d times, then %d; %d instances", code, sent, n, len(w.Sim.Instances()))
		}
		if w.stored(t, "job-7").State != lease.LaunchClosed {
			t.Errorf("%s: the launch is not closed", code)
		}
	}
}

func TestFewerThanRequestedAreAcceptedIfCapacityIsShort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b  int
		zones []string
		types []string
		want  []int // instances of each attempt
	}{
		"all at once":                 {a: 5, b: 5, zones: []string{ec2test.ZoneA, ec2test.ZoneB}, want: []int{5}},
		"then fewer":                  {a: 2, b: 0, zones: []string{ec2test.ZoneA}, want: []int{0, 2, 0}},
		"then elsewhere":              {a: 2, b: 9, zones: []string{ec2test.ZoneA, ec2test.ZoneB}, want: []int{0, 2, 0, 3}},
		"only elsewhere":              {a: 0, b: 9, zones: []string{ec2test.ZoneA, ec2test.ZoneB}, want: []int{0, 0, 5}},
		"not enough anywhere":         {a: 2, b: 1, zones: []string{ec2test.ZoneA, ec2test.ZoneB}, want: []int{0, 2, 0, 1, 0}},
		"then another type":           {a: 2, b: 0, zones: []string{ec2test.ZoneA}, types: []string{"t3.micro", "t3.small"}, want: []int{0, 2, 0, 3}},
		"another type, then location": {a: 0, b: 1, zones: []string{ec2test.ZoneA, ec2test.ZoneB}, types: []string{"t3.micro", "t3.small"}, want: []int{0, 0, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			w.capacity(ec2test.ZoneA, c.a)
			w.capacity(ec2test.ZoneB, c.b)
			r := w.request("job-7", 5)
			r.Subnets = nil
			for _, zone := range c.zones {
				r.Subnets = append(r.Subnets, w.Sim.SubnetID(zone))
			}
			if c.types != nil {
				r.InstanceTypes = c.types
			}
			l := w.launcher(t)
			first, err := l.Launch(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			sum := 0
			for _, a := range first.Launch.Attempts {
				got = append(got, len(a.Instances))
				sum += len(a.Instances)
			}
			if !slices.Equal(got, c.want) || first.Launch.Missing() != 5-sum || len(first.Leases) != sum {
				t.Errorf("attempts made %v, want %v; %d missing", got, c.want, first.Launch.Missing())
			}
			w.wantSound(t, "job-7", 5)
			w.wantBound(t, first)
			w.capacity(ec2test.ZoneA, -1)
			w.wantSame(t, first, func() (launch.Result, error) { return l.Launch(t.Context(), r) })
		})
	}
}

func TestALocalRefusalLeadsToTheNextChoice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code     string
		there    bool   // in the first zone alone
		of       string // the type that is refused; all, if empty
		attempts []int  // instances of each
		refused  bool
	}{
		"spot capacity, another zone":          {code: "UnfulfillableCapacity", there: true, attempts: []int{0, 0, 0, 2}},
		"a type that the image forbids":        {code: "InvalidParameterCombination", of: "t3.micro", attempts: []int{0, 0, 2}},
		"a type of another architecture":       {code: "InvalidParameterValue", of: "t3.micro", attempts: []int{0, 0, 2}},
		"a combination that no type can have":  {code: "InvalidParameterCombination", attempts: []int{0, 0, 0}, refused: true},
		"an image that is not there, anywhere": {code: "InvalidAMIID.NotFound", attempts: []int{0}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			there := w.Sim.SubnetID(ec2test.ZoneA)
			w.Sim.Inject(ec2sim.Fault{
				Action: "RunInstances", Effect: ec2sim.Refuse, Code: c.code, Match: func(form url.Values) bool {
					return (!c.there || form.Get("SubnetId") == there) && (c.of == "" || form.Get("InstanceType") == c.of)
				},
			})
			r := w.request("job-7", 2)
			r.Subnets, r.InstanceTypes = []string{w.Sim.SubnetID(ec2test.ZoneA), w.Sim.SubnetID(ec2test.ZoneB)}, []string{"t3.micro", "t3.small"}
			result, err := w.launcher(t).Launch(t.Context(), r)
			if c.refused {
				if e := ec2test.WantAs[*launch.RefusedError](t, err); e.Code != c.code {
					t.Errorf("%+v", e)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, a := range result.Launch.Attempts {
				got = append(got, len(a.Instances))
			}
			if !slices.Equal(got, c.attempts) {
				t.Errorf("attempts made %v, want %v", got, c.attempts)
			}
		})
	}
}

func TestARefusalAfterSomeWereLaunchedKeepsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.capacity(ec2test.ZoneA, 2)
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 2, Effect: ec2sim.Pass}) // attempts 1 and 2 as they come
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"})
	result, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 3))
	if err != nil || len(result.Leases) != 2 || result.Launch.Missing() != 1 || result.Launch.State != lease.LaunchDone {
		t.Errorf("result = %+v, %v", result, err)
	}
	if result.Launch.Last().Code != "UnauthorizedOperation" {
		t.Errorf("the reason is not kept: %+v", result.Launch.Last())
	}
}

func TestNothingIsSentAfterTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	mend := w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed})
	if _, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 2)); err == nil {
		t.Fatal("no error")
	}
	mend()
	sent := w.Sent("RunInstances")
	config := quick()
	config.Now = func() time.Time { return time.Now().Add(15*time.Minute + time.Second) }
	late := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config)
	_, err := late.Resume(t.Context(), "job-7", 0)
	ec2test.WantError[*launch.UnknownOutcomeError](t, err)
	ec2test.WantError[*lease.WindowError](t, err)
	if n := w.Sent("RunInstances"); n != sent {
		t.Errorf("RunInstances was sent %d times after the window", n-sent)
	}

	launch := w.stored(t, "job-7")
	closed, err := launch.Close(time.Now(), "window over")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.PutLaunch(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = late.Resume(t.Context(), "job-7", 0)
		if e := ec2test.WantAs[*lease.LaunchStateError](t, err); e.State != lease.LaunchClosed || e.Reason != "window over" {
			t.Errorf("%+v", e)
		}
	}
}

func TestALaunchNeverSentInItsWindowIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	const beforeTheFirstSend = 2 // steps: the clock, the new record
	if _, err := w.killed(t, w.request("job-7", 2), beforeTheFirstSend, false); err == nil {
		t.Fatal("no error")
	}
	if a := w.stored(t, "job-7").Last(); a.Sends != 0 {
		t.Fatalf("attempt = %+v", a)
	}
	config := quick()
	config.Now = func() time.Time { return time.Now().Add(15*time.Minute + time.Second) }
	late := launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, config)
	for range 2 {
		result, err := late.Launch(t.Context(), w.request("job-7", 2))
		if e := ec2test.WantAs[*lease.LaunchStateError](t, err); e.State != lease.LaunchClosed || result.Launch.Missing() != 2 {
			t.Errorf("%+v, %+v", e, result)
		}
	}
	if n := w.Sent("RunInstances"); n != 0 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}

func TestALaunchClosedConcurrentlyBindsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Stage: ec2sim.AfterDeed, Times: 1, Hook: func() {
		closed, _ := w.stored(t, "job-7").Close(time.Now(), "released")
		if _, err := w.store.PutLaunch(t.Context(), closed); err != nil {
			t.Error(err)
		}
	}})
	result, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 2))
	if e := ec2test.WantAs[*lease.LaunchStateError](t, err); e.Reason != "released" || len(result.Leases) != 0 {
		t.Errorf("%+v, %+v", e, result)
	}
}

func TestCancellingLeavesWhatCanBeResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Stage: ec2sim.AfterDeed, Times: 1, Effect: ec2sim.Hang, Hook: cancel})
	_, err := w.launcher(t).Launch(ctx, w.request("job-7", 2))
	if e := ec2test.WantAs[*launch.UnknownOutcomeError](t, err); e.Token != "job-7" {
		t.Errorf("%+v", e)
	}
	result, err := w.launcher(t).Resume(t.Context(), "job-7", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.wantBound(t, result)
}
