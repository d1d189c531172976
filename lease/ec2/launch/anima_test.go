package launch_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// consistency is how late the endpoints of these tests may show what a call created.
const consistency = 200 * time.Millisecond

// keyed asks for count instances that are found by their key pair.
func (w world) keyed(token string, count int) launch.Request {
	r := w.request(token, count)
	r.Anima, r.Consistency, r.Patience = lease.AnimaKeyPair, consistency, time.Minute
	return r
}

// hasty is a launcher that soon takes a call for one that is no longer under way.
func (w world) hasty(t ec2test.T) *launch.Launcher {
	t.Helper()
	c := quick()
	c.CallTimeout = time.Second
	return launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, c)
}

// quirks are endpoints on which a client token is no anima, and that it is not on EC2 either.
func quirks() map[string]ec2sim.Config {
	return map[string]ec2sim.Config{
		"EC2":                  {},
		"ignores client token": {Quirks: ec2sim.Quirks{IgnoresClientToken: true}},
		"hides client token":   {Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true}},
		"drops tags":           {Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true, DropsTags: true}},
		"deletes by name":      {Quirks: ec2sim.Quirks{IgnoresClientToken: true, DeletesKeyPairsByName: true}},
		"ignores filters":      {Quirks: ec2sim.Quirks{IgnoresClientToken: true, IgnoresFilters: true}},
		"lists late":           {Quirks: ec2sim.Quirks{IgnoresClientToken: true}, StaleFor: consistency / 2},
	}
}

// TestASearchOutlastsTheCallOfAnother lets a second launcher search while the call of the first is still under way.
func TestASearchOutlastsTheCallOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true}})
	underWay, go1 := make(chan struct{}), make(chan struct{})
	w.Sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Hook: func() { close(underWay); <-go1 }})
	r, first := w.keyed("job-7", 2), make(chan error, 1)
	go func() { _, err := w.launcher(t).Launch(t.Context(), r); first <- err }()
	<-underWay
	second := make(chan error, 1)
	go func() { _, err := w.launcher(t).Launch(t.Context(), r); second <- err }()
	select {
	case err := <-second:
		t.Errorf("the second came to an end first: %v", err)
		second <- err
	case <-time.After(10 * consistency): // it has searched for long by then
	}
	close(go1)
	if one, two := <-first, <-second; one != nil || two != nil {
		t.Errorf("%v, %v", one, two)
	}
	if n := len(w.Sim.Instances()); n != 2 {
		t.Errorf("%d instances of a launch of two", n)
	}
}

// wantKeyed checks that exactly so many instances were ever made, that each is a member of its launch, bears our tags and has
// an active lease, and that no key pair is left.
func (w world) wantKeyed(t ec2test.T, r launch.Result, count int) {
	t.Helper()
	made := w.Sim.Instances()
	if len(made) != count || len(r.Leases) != count {
		t.Fatalf("%d instances, %d leases, want %d", len(made), len(r.Leases), count)
	}
	for _, l := range r.Leases {
		i, _ := w.Sim.Instance(l.InstanceID)
		seen := lease.Instance{ID: i.ID, KeyName: i.KeyName, ClientToken: i.ClientToken, LaunchTime: i.LaunchTime, Tags: i.Tags}
		_, member := r.Launch.Member(seen)
		if !member || l.State != lease.StateActive || !l.Binds(seen) || !seen.ManagedBy(ec2test.UUID) || seen.Tags[lease.TagLaunch] != l.ClientToken ||
			seen.Expiry() != r.Launch.Expiry() {
			t.Fatalf("instance %+v, lease %+v, member %t", seen, l, member)
		}
	}
	if left := w.Sim.KeyPairs(); len(left) > 0 {
		t.Fatalf("key pairs are left: %+v", left)
	}
}

func TestALaunchIsFoundByItsKeyPair(t *testing.T) {
	t.Parallel()
	for name, c := range quirks() {
		for trouble, fault := range map[string]*ec2sim.Fault{
			"":                               nil,
			"answer lost after the creation": {Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop},
			"answer lost before it":          {Action: "RunInstances", Times: 1, Stage: ec2sim.BeforeDeed, Effect: ec2sim.Drop},
			"an error after it":              {Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Refuse, Code: "InternalError"},
			"answer lost after the key pair": {Action: "ImportKeyPair", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop},
		} {
			t.Run(name+", "+trouble, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, c)
				if fault != nil {
					w.Sim.Inject(*fault)
				}
				l := w.hasty(t)
				result, err := l.Launch(t.Context(), w.keyed("job-7", 3))
				if err != nil {
					t.Fatal(err)
				}
				w.wantKeyed(t, result, 3)
				for range 3 {
					again, err := l.Launch(t.Context(), w.keyed("job-7", 3))
					if err != nil || !reflect.DeepEqual(again.Launch, result.Launch) || !reflect.DeepEqual(again.Leases, result.Leases) {
						t.Fatalf("again %+v, %v; first %+v", again, err, result)
					}
				}
			})
		}
	}
}

// TestKilledAtEveryStepWithAKeyPair ends a launcher before, and after, each of its writes and calls, and lets another go on.
func TestKilledAtEveryStepWithAKeyPair(t *testing.T) {
	t.Parallel()
	for name, c := range quirks() {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the deed %t", name, after), func(t *testing.T) {
				t.Parallel()
				for n := 0; ; n++ {
					w := newWorld(t, c)
					r := w.keyed("job-7", 2)
					steps, _ := w.killed(t, r, n, after)
					result, err := w.hasty(t).Launch(t.Context(), r)
					if err != nil {
						t.Fatalf("killed at step %d: %v", n, err)
					}
					if len(result.Leases) != 2 || len(w.Sim.Instances()) != 2 {
						t.Fatalf("killed at step %d: %d leases, %d instances", n, len(result.Leases), len(w.Sim.Instances()))
					}
					if steps <= n {
						t.Logf("killed at %d steps", n)
						break
					}
				}
			})
		}
	}
}

func TestAKeyPairOfOurNameThatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{KeyPairs: []string{lease.KeyName(ec2test.UUID, "job-7.1")}})
	result, err := w.launcher(t).Launch(t.Context(), w.keyed("job-7", 1))
	if err != nil {
		t.Fatal(err)
	}
	if a := result.Launch.Attempts; len(a) != 2 || a[0].Outcome != lease.OutcomeNone || a[0].Sends != 0 || len(a[1].Instances) != 1 {
		t.Errorf("attempts %+v", a)
	}
	if left := w.Sim.KeyPairs(); len(left) == 0 || left[0].Name != lease.KeyName(ec2test.UUID, "job-7.1") {
		t.Errorf("key pairs %+v", left)
	}
}

func TestAKeyPairOfOnesOwnIsRefusedWhereItIsTheAnima(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{KeyPairs: []string{"ada"}})
	r := w.keyed("job-7", 1)
	r.KeyName = "ada"
	var refused *launch.RequestError
	if _, err := w.launcher(t).Launch(t.Context(), r); !errors.As(err, &refused) || refused.Field != "KeyName" {
		t.Errorf("%v", err)
	}
	if w.Sent("RunInstances")+w.Sent("ImportKeyPair") > 0 {
		t.Error("something was sent")
	}
}
