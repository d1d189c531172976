package launch_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/ec2test"
	"lapse/lease/ec2/launch"
	"lapse/lease/leasetest"
)

// world is EC2 over HTTP and an armed registry whose janitor swept the location just now.
type world struct {
	ec2test.World
	store *leasetest.Store
}

func newWorld(t *testing.T, c ec2sim.Config) world {
	t.Helper()
	w := openWorld(c)
	t.Cleanup(w.Close)
	return w
}

func openWorld(c ec2sim.Config) world {
	w := world{World: ec2test.Open(c), store: leasetest.NewStore()}
	w.put("registry", lease.NewRegistry(time.Now(), ec2test.UUID, lease.ModeArmed))
	w.swept(time.Now())
	return w
}

func (w world) swept(at time.Time, locations ...lease.Location) {
	if locations == nil {
		locations = []lease.Location{ec2test.Here()}
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

func quick() launch.Config {
	return launch.Config{Actor: "test:ada", Pause: time.Millisecond, CallTimeout: 10 * time.Second}
}

func (w world) launcher(t ec2test.T) *launch.Launcher {
	t.Helper()
	return launch.New(w.Cloud(t, w.AWS(), ec2.Options{}), w.store, quick())
}

// request asks for count instances in zone A.
func (w world) request(token string, count int) launch.Request {
	return launch.Request{
		Token: token, Count: count, Term: time.Hour, MaxTerm: 2 * time.Hour, HeartbeatTimeout: time.Minute, Holder: "ada",
		Labels: map[string]string{"job": "7"}, Tags: map[string]string{"Name": "worker"},
		ImageID: ec2test.Image, InstanceTypes: []string{"t3.micro"}, Subnets: []string{w.Sim.SubnetID(ec2test.ZoneA)},
		Patience: 100 * time.Millisecond,
	}
}

func (w world) capacity(zone string, n int) { w.Sim.SetCapacity(ec2test.Region, zone, "t3.micro", n) }

// made are the instances of a launch by EC2's own account, whatever their state.
func (w world) made(token string) []ec2sim.Instance {
	return slices.DeleteFunc(w.Sim.Instances(), func(i ec2sim.Instance) bool {
		tag := i.Tags[lease.TagLaunch]
		return len(tag) <= len(token) || tag[:len(token)+1] != token+"."
	})
}

// stored is a launch's record.
func (w world) stored(t ec2test.T, token string) lease.Launch {
	t.Helper()
	launch, err := w.store.Launch(t.Context(), token)
	if err != nil {
		t.Fatalf("read launch: %v", err)
	}
	return launch
}

// wantSound checks what is true at every moment: no more instances than requested, each of them findable by the record.
func (w world) wantSound(t ec2test.T, token string, count int) {
	t.Helper()
	made := w.made(token)
	if len(made) > count {
		t.Fatalf("%d instances of a launch of %d", len(made), count)
	}
	if len(made) == 0 {
		return
	}
	launch := w.stored(t, token)
	w.wantJoins(t, launch)
	for _, i := range made {
		seen := lease.Instance{ID: i.ID, ClientToken: i.ClientToken, Tags: i.Tags}
		if _, ours := launch.Member(seen); !ours || !seen.ManagedBy(ec2test.UUID) {
			t.Fatalf("instance %s (client token %q, tags %v) is not a member of %+v", i.ID, i.ClientToken, i.Tags, launch)
		}
	}
}

// withAPI notes in the registry where instances reach the API.
func (w world) withAPI(url string) {
	registry := lease.NewRegistry(time.Now(), ec2test.UUID, lease.ModeArmed)
	registry.API = url
	w.put("registry", registry)
}

// wantJoins checks that each instance of the launch has the join token of the attempt that made it, which admits it, and of no
// other; none of them, if it is a launch without.
func (w world) wantJoins(t ec2test.T, l lease.Launch) {
	t.Helper()
	for _, i := range w.made(l.Token) {
		data, err := base64.StdEncoding.DecodeString(i.UserData)
		join, found := lease.JoinFrom(data)
		if err != nil || found != (l.API != "") || join.API != l.API {
			t.Fatalf("instance %s is to join %+v, %t (%v); want %q", i.ID, join, found, err, l.API)
		}
		for _, a := range l.Attempts {
			if admitted := a.Admits(join.Token); admitted != (found && a.ClientToken == i.Tags[lease.TagLaunch]) {
				t.Fatalf("attempt %s admits %t instance %s of %s", a.ClientToken, admitted, i.ID, i.Tags[lease.TagLaunch])
			}
		}
	}
}

// wantBound checks that every instance of the launch has an active lease and is in the result.
func (w world) wantBound(t ec2test.T, r launch.Result) {
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
