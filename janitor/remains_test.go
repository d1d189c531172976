package janitor_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/ec2/launch"
)

const lostRegistry = "0198c5a0-0000-7000-8000-000000000000" // the registry of newCrash

// loses launches two instances whose volumes and interfaces outlive them, and kills the launcher when EC2 has made them.
func (c *crash) loses(token string) {
	c.t.Helper()
	ctx, die := context.WithCancel(c.t.Context())
	defer die()
	c.sim.Inject(ec2sim.Fault{Action: "RunInstances", Times: 1, Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop, Hook: die})
	launcher := launch.New(c.cloud, c.store, launch.Config{Actor: "test", Now: c.now, Pause: time.Millisecond})
	if _, err := launcher.Launch(ctx, c.keeps(token)); err == nil {
		c.t.Fatal("the launcher lives")
	}
}

// keeps is a request for two spot instances whose volumes and interfaces outlive them.
func (c *crash) keeps(token string) launch.Request {
	return launch.Request{
		Token: token, Count: 2, Term: 24 * time.Hour, ImageID: "ami-0123456789abcdef0", InstanceTypes: []string{"t3.micro"},
		Unattended: true, Skeleton: []byte(`{
			"InstanceMarketOptions": {"MarketType": "spot"},
			"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": false}}],
			"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "` + c.sim.SubnetID(zoneA) + `", "DeleteOnTermination": false}]}`),
	}
}

// remains are the ids of all volumes, interfaces and spot requests that exist, or that may still launch an instance.
func (c *crash) remains() []string {
	var ids []string
	for _, v := range c.sim.Volumes() {
		ids = append(ids, v.ID)
	}
	for _, n := range c.sim.Interfaces() {
		ids = append(ids, n.ID)
	}
	for _, q := range c.sim.SpotRequests() {
		if q.State == "open" || q.State == "active" {
			ids = append(ids, q.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func lostTags(changes ...string) map[string]string {
	tags := map[string]string{lease.TagRegistry: lostRegistry, lease.TagLaunch: "lost.1"}
	for n := 0; n < len(changes); n += 2 {
		tags[changes[n]] = changes[n+1]
	}
	return tags
}

// bystanders makes what looks much like what launch lost left, and is none of ours to remove. It returns the ids.
func (c *crash) bystanders() []string {
	c.t.Helper()
	someones := c.sim.Create(ec2sim.Instance{})
	old := c.now().Add(-48 * time.Hour)
	ids := []string{
		c.sim.AddVolume(ec2sim.Volume{Tags: lostTags(lease.TagRegistry, "another")}).ID,
		c.sim.AddVolume(ec2sim.Volume{Tags: lostTags(lease.TagExempt, "")}).ID,
		c.sim.AddVolume(ec2sim.Volume{Tags: lostTags(), Created: old}).ID, // a tool copied the tags
		c.sim.AddVolume(ec2sim.Volume{Tags: lostTags(lease.TagLaunch, "nobody.1")}).ID,
		c.sim.AddVolume(ec2sim.Volume{Tags: lostTags(), State: "in-use", Instance: someones.ID}).ID,
		c.sim.AddVolume(ec2sim.Volume{Tags: map[string]string{"Name": "data"}}).ID,
		c.sim.AddInterface(ec2sim.Interface{Tags: lostTags(lease.TagRegistry, "another")}).ID,
		c.sim.AddInterface(ec2sim.Interface{Tags: lostTags(lease.TagExempt, "no")}).ID,
		c.sim.AddInterface(ec2sim.Interface{Tags: lostTags(), RequesterManaged: true}).ID,
		c.sim.AddInterface(ec2sim.Interface{Tags: lostTags(), Status: "in-use", Instance: someones.ID}).ID,
		c.sim.AddSpotRequest(ec2sim.SpotRequest{Tags: lostTags(lease.TagRegistry, "another")}).ID,
		c.sim.AddSpotRequest(ec2sim.SpotRequest{Tags: lostTags(), Created: old}).ID,
	}
	ids = append(append(ids, someones.Volumes...), someones.Interfaces...)
	slices.Sort(ids)
	return ids
}

func TestOnlyLeftoversOfAKilledLaunchAreRemoved(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	c.loses("lost")
	bystanders := c.bystanders()
	// What EC2 itself may leave of a creation: a second interface, and a spot request that is yet to be fulfilled.
	c.sim.AddInterface(ec2sim.Interface{Tags: lostTags()})
	c.sim.AddSpotRequest(ec2sim.SpotRequest{Tags: lostTags()})
	if n := len(c.remains()) - len(bystanders); n != 10 {
		t.Fatalf("%d things were made; want 2 root volumes, 2 more, 3 interfaces and 3 spot requests", n)
	}
	c.settle()
	c.sweeps(8)
	if got := c.remains(); !slices.Equal(got, bystanders) {
		t.Errorf("left: %v\nwant the bystanders alone: %v", got, bystanders)
	}
	launch, err := c.store.Launch(t.Context(), "lost")
	if err != nil || launch.ClearedAt.IsZero() || launch.State != lease.LaunchClosed {
		t.Errorf("launch %s, cleared %s (%v)", launch.State, launch.ClearedAt, err)
	}
	for id := range launch.Removals {
		if slices.Contains(bystanders, id) {
			t.Errorf("the removal of %s was authorised", id)
		}
	}
	touched := map[string]bool{}
	for _, call := range c.sim.Calls() {
		if strings.HasPrefix(call.Action, "Delete") || strings.HasPrefix(call.Action, "Cancel") {
			for _, id := range call.IDs {
				touched[id] = true
			}
		}
	}
	for _, id := range bystanders {
		if touched[id] {
			t.Errorf("EC2 was asked to remove %s", id)
		}
	}
	before := c.describes()
	c.sweeps(3)
	if after := c.describes(); !maps.Equal(before, after) {
		t.Errorf("idle sweeps listed leftovers: %v, then %v", before, after)
	}
}

// describes counts the calls that list leftovers.
func (c *crash) describes() map[string]int {
	counts := c.sim.CallCounts()
	maps.DeleteFunc(counts, func(action string, _ int) bool {
		return !slices.Contains([]string{"DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests"}, action)
	})
	return counts
}

func TestLeftoversInUseAreRemovedLater(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	c.loses("lost")
	mend := c.sim.Inject(ec2sim.Fault{Action: "DeleteNetworkInterface", Effect: ec2sim.Refuse, Code: "DependencyViolation"})
	c.settle()
	c.sweeps(8)
	if got := c.sim.Interfaces(); len(got) != 2 || len(c.sim.Volumes()) > 0 {
		t.Errorf("%d interfaces and %d volumes; the interfaces alone are in use", len(got), len(c.sim.Volumes()))
	}
	if l, err := c.store.Launch(t.Context(), "lost"); err != nil || !l.ClearedAt.IsZero() {
		t.Errorf("cleared at %s (%v), with interfaces left", l.ClearedAt, err)
	}
	mend()
	c.sweeps(3)
	if got := c.remains(); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestAFailedListingOfLeftoversHoldsBackNothingElse(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	c.loses("lost")
	for _, action := range []string{"DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSpotInstanceRequests"} {
		c.sim.Inject(ec2sim.Fault{Action: action, Effect: ec2sim.Refuse, Code: "UnauthorizedOperation", Status: 403})
	}
	c.settle()
	c.sweeps(4)
	c.check("with leftovers out of sight")
	if counts := c.sim.CallCounts(); counts["DeleteVolume"]+counts["DeleteNetworkInterface"]+counts["CancelSpotInstanceRequests"] > 0 {
		t.Errorf("removed unseen: %v", counts)
	}
	if checkpoint, err := c.store.Checkpoint(t.Context()); err != nil || !checkpoint.Names(c.cloud.Location()) {
		t.Errorf("checkpoint %+v (%v) does not name the location", checkpoint, err)
	}
}

func TestLeftoversOfAnActiveLeaseAreKept(t *testing.T) {
	t.Parallel()
	c := newCrash(t)
	launcher := launch.New(c.cloud, c.store, launch.Config{Actor: "test", Now: c.now, Pause: time.Millisecond})
	result, err := launcher.Launch(t.Context(), c.keeps("kept"))
	if err != nil {
		t.Fatal(err)
	}
	// A person closes the launch, as `lease release TOKEN` does, and gives the instances back.
	if _, _, err := c.store.UpdateLaunch(t.Context(), "kept", func(l lease.Launch) (lease.Launch, error) {
		return l.Close(c.now(), "released")
	}); err != nil {
		t.Fatal(err)
	}
	for _, id := range result.Launch.Instances() {
		if _, _, err := c.store.UpdateLease(t.Context(), id, func(l lease.Lease) (lease.Lease, error) {
			return l.Revoke(c.now(), lease.CauseRelease, lease.By{Actor: "test"})
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.settle()
	c.sweeps(6)
	if volumes, interfaces := len(c.sim.Volumes()), len(c.sim.Interfaces()); volumes != 2 || interfaces != 2 {
		t.Errorf("%d volumes and %d interfaces; what was asked to outlive the instances is kept", volumes, interfaces)
	}
	if l, err := c.store.Launch(t.Context(), "kept"); err != nil || l.ClearedAt.IsZero() {
		t.Errorf("not cleared (%v), although nothing is to be removed", err)
	}
}
