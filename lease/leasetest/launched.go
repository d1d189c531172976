package leasetest

import (
	"testing"
	"time"

	"lapse/lease"
)

// Launched puts an armed registry into the store, launch web of these instances, and their leases of an hour with a
// heartbeat timeout of a minute. The cloud runs the instances from now on. It returns the registry. The store is closed at
// the end of the test.
func Launched(tb testing.TB, store *Store, cloud *Cloud, ids ...string) lease.Registry {
	tb.Helper()
	tb.Cleanup(store.Close)
	now := time.Now()
	registry, err := store.PutRegistry(tb.Context(), lease.NewRegistry(now, "uuid-1", lease.ModeArmed))
	if err != nil {
		tb.Fatal(err)
	}
	launch, err := store.PutLaunch(tb.Context(), lease.Launch{
		Schema: lease.Schema, Token: "web", State: lease.LaunchOpen, Account: cloud.Where.Account, Region: cloud.Where.Region,
		Count: len(ids), Term: lease.Duration(time.Hour), HeartbeatTimeout: lease.Duration(time.Minute), Window: lease.Duration(15 * time.Minute),
		Request: []byte("{}"), CreatedAt: now,
		Attempts: []lease.Attempt{{ClientToken: "web.1", Min: len(ids), Max: len(ids), Sends: 1, LastSend: now, Outcome: lease.OutcomeLaunched, Instances: ids}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	var leases []lease.Lease
	for _, id := range ids {
		i := cloud.Made(id, registry.UUID, "web.1")
		l := launch.Bind(now, i, launch.Attempts[0], lease.By{Actor: "test"})
		i.Tags[lease.TagExpires], i.Tags[lease.TagLeased] = l.Expiry().String(), l.LeasedTag()
		cloud.Instances[id] = i
		leases = append(leases, l)
	}
	if _, err = store.Bind(tb.Context(), launch, leases); err != nil {
		tb.Fatal(err)
	}
	return registry
}

// NewCloud is an empty one.
func NewCloud() *Cloud {
	return &Cloud{
		Where: lease.Location{Account: "123456789012", Region: "eu-west-1"}, Instances: map[string]lease.Instance{}, Refuse: map[string]string{},
	}
}

// Made is a running instance as an attempt of a launch makes it, with the tags of a registry.
func (c *Cloud) Made(id, registry, clientToken string) lease.Instance {
	return lease.Instance{
		ID: id, Location: c.Where, Zone: "eu-west-1a", State: lease.InstanceRunning, LaunchTime: time.Now(), ClientToken: clientToken,
		Tags: map[string]string{lease.TagRegistry: registry, lease.TagLaunch: clientToken},
	}
}
