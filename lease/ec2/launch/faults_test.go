package launch_test

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// In each of these worlds a launch of three comes to three leases in one attempt, and needs no tag afterwards.
func TestALaunchNeedsOnlyEC2sAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]ec2sim.Config{
		"where nothing new is listed":     {StaleFor: time.Hour},
		"where no new id is known":        {UnknownFor: time.Hour},
		"where neither is":                {StaleFor: time.Hour, UnknownFor: time.Hour},
		"where pages are short and empty": {PageSizes: []int{0, 1}},
		"where instances stay pending":    {PendingFor: time.Hour},
		"where EC2 throttles":             {Throttle: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c)
			w.Sim.Inject(ec2sim.Fault{Action: "CreateTags", Effect: ec2sim.Refuse, Code: "InvalidInstanceID.NotFound"})
			result, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 3))
			if err != nil || len(result.Leases) != 3 || len(result.Launch.Attempts) != 1 {
				t.Fatalf("%d leases, attempts %+v, %v", len(result.Leases), result.Launch.Attempts, err)
			}
			w.wantSound(t, "job-7", 3)
			w.wantBound(t, result)
			if n := w.Sent("CreateTags"); n != 0 {
				t.Errorf("CreateTags was sent %d times", n)
			}
		})
	}
}

func TestALaunchIsResumedWhereItsInstancesAreNotListedYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{StaleFor: time.Hour, UnknownFor: time.Hour})
	dead := errors.New("dead")
	w.store.Fault = func(method string) error {
		if method == "Bind" {
			return dead
		}
		return nil
	}
	if _, err := w.launcher(t).Launch(t.Context(), w.request("job-7", 3)); !errors.Is(err, dead) {
		t.Fatalf("error = %v", err)
	}
	w.store.Fault = nil
	result, err := w.launcher(t).Resume(t.Context(), "job-7", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.wantSound(t, "job-7", 3)
	w.wantBound(t, result)
	if n := w.Sent("RunInstances"); n != 1 {
		t.Errorf("RunInstances was sent %d times", n)
	}
}

func TestAZoneWithoutTheTypeIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.Sim.SetOffered(ec2test.Region, ec2test.ZoneA, "t3.micro", false)
	r := w.request("job-7", 3)
	r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneA), w.Sim.SubnetID(ec2test.ZoneB)}
	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil || len(result.Leases) != 3 {
		t.Fatalf("%d leases, %v", len(result.Leases), err)
	}
	for _, l := range result.Leases {
		if l.Zone != ec2test.ZoneB {
			t.Errorf("%s is in %s", l.InstanceID, l.Zone)
		}
	}
	w.wantSound(t, "job-7", 3)
}

func TestAZoneInAnOutageIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	r := w.request("job-7", 3)
	r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneA), w.Sim.SubnetID(ec2test.ZoneB)}
	w.Sim.Outage(ec2test.Region, ec2test.ZoneA)
	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	w.wantSound(t, "job-7", 3)
	w.wantBound(t, result)
	if len(result.Leases) != 3 || slices.ContainsFunc(result.Leases, func(l lease.Lease) bool { return l.Zone != ec2test.ZoneB }) {
		t.Errorf("leases = %+v", result.Leases)
	}
}

// Every zone counts client tokens for itself, so an attempt that was sent into one zone is never repeated in another.
func TestEachZoneHasItsOwnClientToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{})
	w.capacity(ec2test.ZoneA, 1)
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 2, Effect: ec2sim.Drop, Stage: ec2sim.AfterDeed})
	r := w.request("job-7", 3)
	r.Subnets = []string{w.Sim.SubnetID(ec2test.ZoneA), w.Sim.SubnetID(ec2test.ZoneB)}
	r.Patience = 10 * time.Second
	result, err := w.launcher(t).Launch(t.Context(), r)
	if err != nil || len(result.Leases) != 3 {
		t.Fatalf("%d leases, %v", len(result.Leases), err)
	}
	zones := map[string]string{}
	for _, i := range w.made("job-7") {
		if zone, used := zones[i.ClientToken]; used && zone != i.Zone {
			t.Errorf("client token %s was used in %s and %s", i.ClientToken, zone, i.Zone)
		}
		zones[i.ClientToken] = i.Zone
	}
	w.wantSound(t, "job-7", 3)
}

func TestManyLaunchersUnderEC2sBucketsAllComeThrough(t *testing.T) {
	t.Parallel()
	const launchers = 15
	began := time.Now()
	var running atomic.Pointer[func() time.Time] // EC2's clock stands still until somebody was throttled
	now := func() time.Time {
		if fast := running.Load(); fast != nil {
			return (*fast)()
		}
		return began
	}
	w := newWorld(t, ec2sim.Config{Throttle: true, Now: now})
	w.swept(now())
	cloud := w.Cloud(t, w.AWS(), ec2.Options{Now: now})
	config := quick()
	config.Now = now
	config.Progress = func(e launch.Event) {
		if e.Kind == launch.EventThrottled {
			fast := ec2sim.Fast(20)
			running.CompareAndSwap(nil, &fast)
		}
	}
	var all sync.WaitGroup
	for n := range launchers {
		all.Go(func() {
			token := "job-" + strconv.Itoa(n)
			r := w.request(token, 2)
			r.Patience, r.Unattended = 30*time.Second, true
			result, err := launch.New(cloud, w.store, config).Launch(t.Context(), r)
			if err != nil || len(result.Leases) != 2 || len(result.Launch.Attempts) != 1 {
				t.Errorf("%s: %d leases, attempts %+v, %v", token, len(result.Leases), result.Launch.Attempts, err)
			}
		})
	}
	all.Wait()
	if running.Load() == nil {
		t.Error("nobody was throttled")
	}
}
