package ec2_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
)

// herd makes n running instances in zone A.
func (w world) herd(n int) []string {
	ids := make([]string, 0, n)
	for range n {
		ids = append(ids, w.Sim.Create(ec2sim.Instance{Tags: map[string]string{lease.TagRegistry: ec2test.UUID}}).ID)
	}
	return ids
}

func TestOneBadIDSparesNoOtherInstance(t *testing.T) {
	t.Parallel()
	const unknownID = "i-0123456789abcdef0"
	for name, c := range map[string]struct {
		bad  []int // positions in a batch of 50
		make func(world, string) string
		code string
	}{
		"none bad":              {},
		"one unknown, first":    {bad: []int{0}, make: func(world, string) string { return unknownID }, code: "InvalidInstanceID.NotFound"},
		"one unknown, last":     {bad: []int{49}, make: func(world, string) string { return unknownID }, code: "InvalidInstanceID.NotFound"},
		"one malformed":         {bad: []int{23}, make: func(world, string) string { return "i-zzz" }, code: "InvalidInstanceID.Malformed"},
		"one protected":         {bad: []int{31}, make: protect, code: "OperationNotPermitted"},
		"three protected":       {bad: []int{3, 30, 44}, make: protect, code: "OperationNotPermitted"},
		"all but one protected": {bad: allBut(17), make: protect, code: "OperationNotPermitted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			ids := w.herd(50)
			for _, n := range c.bad {
				ids[n] = c.make(w, ids[n])
			}
			results := w.Cloud(t, w.AWS(), ec2.Options{Share: 1}).Terminate(t.Context(), ids)
			for n, r := range results {
				if r.ID != ids[n] || r.RequestID == "" {
					t.Fatalf("result %d = %+v", n, r)
				}
				if slices.Contains(c.bad, n) {
					if !r.Refused() || r.Code != c.code {
						t.Errorf("bad id: %+v", r)
					}
					continue
				}
				i, _ := w.Sim.Instance(ids[n])
				if !r.Accepted() || r.State != lease.InstanceShuttingDown && r.State != lease.InstanceTerminated || i.State != ec2sim.Terminated {
					t.Errorf("good id: %+v, EC2 says %s", r, i.State)
				}
			}
			extra := w.Sent("TerminateInstances") - 1
			if most := len(c.bad) * int(2*math.Ceil(math.Log2(50))); extra > most || extra > 99 {
				t.Errorf("%d extra calls, at most %d", extra, most)
			}
			t.Logf("%d bad ids cost %d extra calls", len(c.bad), extra)
		})
	}
}

func TestAProtectedInstanceSparesNoOtherZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ids := w.herd(20)
	for n := range 20 {
		ids = append(ids, w.Sim.Create(ec2sim.Instance{Zone: ec2test.ZoneB}).ID)
		if n == 7 {
			protect(w, ids[3])
			protect(w, ids[len(ids)-1])
		}
	}
	guarded := []string{ids[3], ids[27]}
	for _, r := range w.Cloud(t, w.AWS(), ec2.Options{Share: 1}).Terminate(t.Context(), ids) {
		i, _ := w.Sim.Instance(r.ID)
		want := ec2sim.Terminated
		if slices.Contains(guarded, r.ID) {
			want = ec2sim.Running
		}
		if i.State != want || r.Accepted() != (want == ec2sim.Terminated) {
			t.Errorf("%s in %s: %+v, EC2 says %s", r.ID, i.Zone, r, i.State)
		}
	}
}

func protect(w world, id string) string {
	w.Sim.Protect(id, true)
	return id
}

func allBut(n int) []int {
	var all []int
	for i := range 50 {
		if i != n {
			all = append(all, i)
		}
	}
	return all
}

func TestACallThatFailsAsAWholeIsNotHalved(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]ec2sim.Fault{
		"throttled":       {Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"},
		"internal error":  {Effect: ec2sim.Refuse, Code: "InternalError"},
		"unavailable":     {Effect: ec2sim.Refuse, Code: "Unavailable"},
		"reset":           {Effect: ec2sim.Drop},
		"rejected caller": {Effect: ec2sim.Refuse, Code: "AuthFailure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ec2sim.Config{})
			fault.Action = "TerminateInstances"
			w.Sim.Inject(fault)
			ids := w.herd(120)
			for _, r := range w.Cloud(t, w.AWS(), ec2.Options{}).Terminate(t.Context(), ids) {
				if r.Accepted() || r.Refused() || r.ID == "" || r.Err == nil {
					t.Fatalf("%+v", r)
				}
			}
			if n := w.Sent("TerminateInstances"); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestTerminationsBeforeAFailureAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ids := w.herd(4)
	protect(w, ids[3])
	w.Sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Times: 2}) // two calls pass: all, the first half
	w.Sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"})
	results := w.Cloud(t, w.AWS(), ec2.Options{}).Terminate(t.Context(), ids)
	for n, r := range results {
		if r.Accepted() != (n < 2) || r.Refused() {
			t.Errorf("%d: %+v", n, r)
		}
	}
}

func TestBatchesHaveAtMostFifty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	results := w.Cloud(t, w.AWS(), ec2.Options{Share: 1}).Terminate(t.Context(), w.herd(120))
	if len(results) != 120 || slices.ContainsFunc(results, func(r lease.Termination) bool { return !r.Accepted() }) {
		t.Errorf("results = %+v", results)
	}
	for _, c := range w.Sim.Calls() {
		if c.Action == "TerminateInstances" && len(c.IDs) > ec2.MaxTerminate {
			t.Errorf("a call names %d instances", len(c.IDs))
		}
	}
	if n := w.Sent("TerminateInstances"); n != 3 {
		t.Errorf("%d calls", n)
	}
}

func TestTerminatingNothingCallsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	if results := w.Cloud(t, w.AWS(), ec2.Options{}).Terminate(t.Context(), nil); len(results) != 0 || w.Sent("TerminateInstances") != 0 {
		t.Errorf("results = %+v", results)
	}
}

func TestTerminatingKeepsToItsShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	cloud := w.Cloud(t, w.AWS(), ec2.Options{Share: 0.1}) // a bucket of 100 instances
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := cloud.Reserve(ctx, ec2.MaxTerminate); err != nil {
		t.Fatal(err)
	}
	results := cloud.Terminate(ctx, w.herd(400)) // the rest takes 150 s at 2/s: refused at once, for it cannot be in time
	accepted := 0
	for _, r := range results {
		if r.Accepted() {
			accepted++
		}
	}
	if accepted != 100 {
		t.Errorf("%d accepted, want the bucket's 100", accepted)
	}
	if err := cloud.Reserve(ctx, ec2.MaxTerminate); err == nil {
		t.Error("reserved 50 more of an empty bucket within 5 s")
	}
}

func TestPaceIsThatOfTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for name, speed := range map[string]float64{"without limits": math.Inf(1), "a hundred thousand times EC2's": 1e5} {
		cloud := w.Cloud(t, w.AWS(), ec2.Options{Speed: speed})
		for range 200 { // 950 s at EC2's own speed
			if err := cloud.Reserve(ctx, ec2.MaxTerminate); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestRetriesOfTheSDKServeTerminate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.Inject(ec2sim.Fault{Action: "TerminateInstances", Times: 1, Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed})
	cfg := w.AWS()
	cfg.Retryer = nil // the SDK's own
	results := w.Cloud(t, cfg, ec2.Options{}).Terminate(t.Context(), w.herd(2))
	if slices.ContainsFunc(results, func(r lease.Termination) bool { return !r.Accepted() }) {
		t.Errorf("results = %+v", results)
	}
}
