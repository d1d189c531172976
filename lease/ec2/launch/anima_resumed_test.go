package launch_test

import (
	"encoding/json"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
)

// boundOnly is a world in which a launcher was killed once it had written the lease of its only instance, and before the launch
// was done.
func boundOnly(t *testing.T, c ec2sim.Config) (w world, r launch.Request, id string) {
	t.Helper()
	for n := 0; id == ""; n++ {
		w = newWorld(t, c)
		r = w.keyed("job-7", 1)
		_, _ = w.killed(t, r, n, true)
		l, err := w.store.Launch(t.Context(), "job-7")
		if err != nil || l.State != lease.LaunchOpen || len(l.Instances()) == 0 {
			continue
		}
		if _, err := w.store.Lease(t.Context(), l.Instances()[0]); err == nil {
			id = l.Instances()[0]
		}
	}
	return w, r, id
}

// TestNothingIsBoundWithoutItsTags lets an endpoint drop tags, and show late what it created, to whoever goes on with a launch.
func TestNothingIsBoundWithoutItsTags(t *testing.T) {
	t.Parallel()
	for n, steps := 0, 1; n < steps; n++ {
		w := newWorld(t, ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true, DropsTags: true}, StaleFor: consistency - consistency/10})
		r := w.keyed("job-7", 1)
		steps, _ = w.killed(t, r, n, true)
		result, err := w.hasty(t).Launch(t.Context(), r)
		if err != nil {
			t.Errorf("killed after step %d, and resumed: %v", n, err)
		}
		for _, l := range result.Leases {
			if i, _ := w.Sim.Instance(l.InstanceID); i.Tags[lease.TagRegistry] != ec2test.UUID {
				t.Errorf("killed after step %d: %s has a lease, and the tags %v", n, i.ID, i.Tags)
			}
		}
	}
}

// TestAWrongClockLosesNothing has launchers whose clock is as wrong as they may be, or worse when they go on.
func TestAWrongClockLosesNothing(t *testing.T) {
	t.Parallel()
	members := func(t *testing.T, w world, l lease.Launch) {
		t.Helper()
		for _, i := range w.Sim.Instances() {
			seen := lease.Instance{ID: i.ID, KeyName: i.KeyName, ClientToken: i.ClientToken, LaunchTime: i.LaunchTime, Tags: i.Tags}
			if _, member := l.Member(seen); !member {
				t.Errorf("%s belongs to no launch", i.ID)
			}
		}
	}
	lost := ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop}
	by := func(t *testing.T, w world, ahead time.Duration) *launch.Launcher {
		t.Helper()
		c := quick()
		c.Now = func() time.Time { return time.Now().Add(ahead) }
		c.CallTimeout = time.Second
		return launch.New(w.Cloud(t, w.AWS(), ec2.Options{Now: c.Now}), w.store, c)
	}
	t.Run("from the start", func(t *testing.T) {
		t.Parallel()
		for _, ahead := range []time.Duration{9 * time.Second, 9500 * time.Millisecond, -9 * time.Second} {
			w := newWorld(t, ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true}})
			w.swept(time.Now().Add(ahead))
			w.Sim.Inject(lost)
			result, err := by(t, w, ahead).Launch(t.Context(), w.keyed("job-7", 1))
			if err != nil {
				t.Errorf("%s ahead: %v", ahead, err)
			}
			members(t, w, result.Launch)
		}
	})
	t.Run("when it goes on", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true}})
		r := w.keyed("job-7", 1)
		for n := 0; ; n++ {
			_, _ = w.killed(t, r, n, true)
			if _, err := w.store.Launch(t.Context(), "job-7"); err == nil {
				break
			}
		}
		w.Sim.Inject(lost)
		result, err := by(t, w, time.Minute).Launch(t.Context(), r)
		ec2test.WantError[*ec2.ClockError](t, err)
		members(t, w, result.Launch)
	})
}

// TestWhatIsBoundIsNotTaggedAgain: a launcher that goes on after the binding leaves alone what others have written since.
func TestWhatIsBoundIsNotTaggedAgain(t *testing.T) {
	t.Parallel()
	drops := ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true, HidesClientToken: true, DropsTags: true}}
	t.Run("somebody took the registry's tag off", func(t *testing.T) {
		t.Parallel()
		w, r, id := boundOnly(t, drops)
		newer := lease.Expiry{At: time.Now().Add(90 * time.Minute).UTC().Truncate(time.Second), Number: 2}.String()
		w.Sim.SetTags(id, map[string]string{lease.TagLaunch: "job-7.1", lease.TagLeased: "job-7.1", lease.TagExpires: newer})
		if _, err := w.hasty(t).Launch(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i, _ := w.Sim.Instance(id); i.Tags[lease.TagExpires] != newer || i.Tags[lease.TagLeased] != "job-7.1" || i.Tags[lease.TagRegistry] != "" {
			t.Errorf("its tags are %v", i.Tags)
		}
	})
	t.Run("unmanaged", func(t *testing.T) {
		t.Parallel()
		w, r, id := boundOnly(t, drops)
		l, err := w.store.Lease(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		l.State = lease.StateUnmanaged
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		w.store.Put("lease", id, data)
		w.Sim.SetTags(id, map[string]string{"Name": "worker"})
		if _, err := w.hasty(t).Launch(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i, _ := w.Sim.Instance(id); len(i.Tags) != 1 {
			t.Errorf("its tags are %v", i.Tags)
		}
	})
}

// TestVolumesGetTheTagsThatTheEndpointDropped is about what outlives an instance: it is found by its tags alone.
func TestVolumesGetTheTagsThatTheEndpointDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ec2sim.Config{Quirks: ec2sim.Quirks{IgnoresClientToken: true, DropsTags: true}})
	if _, err := w.hasty(t).Launch(t.Context(), w.keyed("job-7", 2)); err != nil {
		t.Fatal(err)
	}
	volumes := w.Sim.Volumes()
	if len(volumes) != 2 {
		t.Fatalf("%d volumes", len(volumes))
	}
	for _, v := range volumes {
		if v.Tags[lease.TagRegistry] != ec2test.UUID || v.Tags[lease.TagLaunch] != "job-7.1" {
			t.Errorf("%s has the tags %v", v.ID, v.Tags)
		}
	}
}
