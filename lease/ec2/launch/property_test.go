package launch_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// trouble is what EC2 may do to a call. None of it is a lie: what is refused definitely was not done.
func trouble() []ec2sim.Fault {
	return []ec2sim.Fault{
		{Action: "RunInstances", Effect: ec2sim.Drop},
		{Action: "RunInstances", Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "InternalError"},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "InternalError", Stage: ec2sim.AfterDeed},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "Unavailable", Stage: ec2sim.AfterDeed},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "InsufficientInstanceCapacity"},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "UnauthorizedOperation"},
		{Action: "RunInstances", Effect: ec2sim.Refuse, Code: "IdempotentParameterMismatch"},
		{Action: "DescribeInstances", Effect: ec2sim.Drop},
		{Action: "DescribeInstances", Effect: ec2sim.Refuse, Code: "InternalError"},
	}
}

// life is one launcher's: how many steps it lives, and whether its last deed is done.
type life struct {
	steps int
	after bool
}

func lives() *rapid.Generator[[]life] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) life {
		return life{rapid.IntRange(0, 25).Draw(t, "steps"), rapid.Bool().Draw(t, "after")}
	}), 1, 3)
}

// TestNoFaultLaunchesTooMany lets up to three launchers at once, with one token, meet any trouble and die at any step,
// several times over.
func TestNoFaultLaunchesTooMany(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := openWorld(ec2sim.Config{})
		defer w.Close()
		count := rapid.IntRange(1, 6).Draw(t, "count")
		if rapid.Bool().Draw(t, "joins") {
			w.withAPI("https://lapse.example.com")
		}
		w.capacity(ec2test.ZoneA, rapid.IntRange(0, 7).Draw(t, "room in a"))
		w.capacity(ec2test.ZoneB, rapid.IntRange(0, 7).Draw(t, "room in b"))
		r := w.request("job-7", count)
		r.Subnets = append(r.Subnets, w.Sim.SubnetID(ec2test.ZoneB))
		r.Patience = 5 * quick().Pause

		var mends []func()
		for _, fault := range rapid.SliceOfN(rapid.SampledFrom(trouble()), 0, 8).Draw(t, "trouble") {
			fault.Times = 1
			mends = append(mends, w.Sim.Inject(fault))
		}
		for _, round := range rapid.SliceOfN(lives(), 1, 3).Draw(t, "rounds") {
			var all sync.WaitGroup
			for _, l := range round {
				all.Go(func() { _, _ = w.killed(t, r, l.steps, l.after) })
			}
			all.Wait()
			w.wantSound(t, "job-7", count)
		}

		for _, mend := range mends {
			mend()
		}
		w.capacity(ec2test.ZoneA, -1)
		w.capacity(ec2test.ZoneB, -1)
		r.Patience = time.Minute
		result, err := w.launcher(t).Launch(t.Context(), r)
		var refused *launch.RefusedError
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("not settled when all is well: %v", err)
		}
		if err != nil && len(w.made("job-7")) > 0 {
			t.Fatalf("%v, yet %d instances", err, len(w.made("job-7")))
		}
		w.wantSound(t, "job-7", count)
		w.wantBound(t, result)
	})
}

// TestConcurrentLaunchersAgree starts one launch several times at once, without trouble.
func TestConcurrentLaunchersAgree(t *testing.T) {
	t.Parallel()
	for range 10 {
		w := newWorld(t, ec2sim.Config{})
		w.capacity(ec2test.ZoneA, 2)
		r := w.request("job-7", 5)
		r.Subnets = append(r.Subnets, w.Sim.SubnetID(ec2test.ZoneB))
		var all sync.WaitGroup
		for range 4 {
			l := w.launcher(t)
			all.Go(func() {
				result, err := l.Launch(t.Context(), r)
				var doubt *launch.UnknownOutcomeError // a refusal that two heard is not definite to either
				if err != nil && !errors.As(err, &doubt) {
					t.Errorf("launch: %v", err)
				}
				if err == nil && len(result.Leases) != 5 {
					t.Errorf("%d leases", len(result.Leases))
				}
			})
		}
		all.Wait()
		w.wantSound(t, "job-7", 5)
	}
}
