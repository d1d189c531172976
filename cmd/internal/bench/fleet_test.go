//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
)

const (
	heartbeatTimeout = 5 * time.Minute
	perLaunch        = 100
)

// fleet is instances with their leases, launched a hundred at a time.
type fleet struct {
	registry  lease.Registry
	timeout   time.Duration // of heartbeats
	instances []lease.Instance
}

// newFleet makes an armed registry and n running instances, with leases whose term is over at the time given for each,
// and whose history is of five entries. They bear the tags of their leases, so there is nothing to write.
func (w *world) newFleet(n int, over func(n int) time.Time) *fleet {
	w.t.Helper()
	return w.fleetOf(n, over, heartbeatTimeout)
}

func (w *world) fleetOf(n int, over func(n int) time.Time, timeout time.Duration) *fleet {
	w.t.Helper()
	registry, err := w.store.PutRegistry(w.t.Context(), lease.NewRegistry(time.Now(), uuid.NewString(), lease.ModeArmed))
	if err != nil {
		w.t.Fatal(err)
	}
	f := &fleet{registry: registry, timeout: timeout}
	for n > len(f.instances) {
		w.launch(f, min(perLaunch, n-len(f.instances)), over)
	}
	return f
}

// launch adds the instances of one launch.
func (w *world) launch(f *fleet, n int, over func(n int) time.Time) {
	w.t.Helper()
	token := uuid.NewString()
	first := len(f.instances)
	var ids []string
	for range n {
		i := w.sim.Create(ec2sim.Instance{
			Region: region, Zone: region + string("abc"[len(f.instances)/perLaunch%3]), ClientToken: token + ".1",
			Tags: map[string]string{lease.TagRegistry: f.registry.UUID, lease.TagLaunch: token + ".1", lease.TagHolder: "bench"},
		})
		ids = append(ids, i.ID)
		f.instances = append(f.instances, lease.Instance{
			ID: i.ID, Location: lease.Location{Account: "123456789012", Region: region}, Zone: i.Zone, ZoneID: i.ZoneID,
			State: lease.InstanceRunning, LaunchTime: i.LaunchTime, ClientToken: i.ClientToken, Tags: i.Tags,
		})
	}
	now := time.Now()
	made := lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Account: "123456789012", Region: region, Count: n,
		HeartbeatTimeout: lease.Duration(f.timeout), Window: lease.Duration(15 * time.Minute), Holder: "bench", CreatedAt: now.UTC(),
		Request:  json.RawMessage(`{"ImageId":"ami-0123456789abcdef0","InstanceType":"c7i.large"}`),
		Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: n, Max: n, Sends: 1, LastSend: now.UTC()}},
	}
	made, err := w.store.PutLaunch(w.t.Context(), made.Launched(ids))
	if err != nil {
		w.t.Fatal(err)
	}
	var leases []lease.Lease
	for n := first; n < len(f.instances); n++ {
		l := grown(made.Bind(now, f.instances[n], made.Attempts[0], lease.By{Actor: "cli:bench"}), over(n))
		leases = append(leases, l)
		f.instances[n].Tags = maps.Clone(f.instances[n].Tags)
		f.instances[n].Tags[lease.TagExpires], f.instances[n].Tags[lease.TagLeased] = l.Expiry().String(), l.LeasedTag()
		w.sim.SetTags(l.InstanceID, f.instances[n].Tags)
	}
	if _, err := w.store.Bind(w.t.Context(), made, leases); err != nil {
		w.t.Fatal(err)
	}
	done, err := made.Done(time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.PutLaunch(w.t.Context(), done); err != nil {
		w.t.Fatal(err)
	}
}

// grown is a lease that was claimed and extended, as one that has lived for a while.
func grown(l lease.Lease, over time.Time) lease.Lease {
	now := time.Now()
	by := lease.By{Actor: "instance:" + l.InstanceID, Reason: "first heartbeat"}
	l, _ = l.Claimed(now, by)
	by = lease.By{Actor: "cli:ada@laptop", Reason: "the job takes longer"}
	for n := 3; n > 0; n-- {
		l, _ = l.Extend(now, lease.Extension{Until: now.Add(time.Duration(24-n) * time.Hour)}, by)
	}
	l.ExpiresAt = over.UTC().Truncate(time.Millisecond)
	return l
}

// never is a term that is not over while anything is measured.
func never(int) time.Time { return time.Now().Add(24 * time.Hour) }

// heartbeat is what a sidecar says.
func heartbeat(id string) lease.Heartbeat {
	return lease.Heartbeat{
		Schema: lease.Schema, InstanceID: id, BootID: "0f8b1c9e-5f1d-4c55-9a44-6f0b5d1c2f11", Address: "10.0.0.1", Version: "bench",
		Changes: 1, HeartbeatTimeout: lease.Duration(heartbeatTimeout), Since: time.Now().UTC().Add(time.Minute),
	}
}

// heartbeat writes heartbeats for instances, one etcd lease for each 100; they last longer than the measurement.
func (w *world) heartbeat(instances []lease.Instance) {
	w.t.Helper()
	for some := range slices.Chunk(instances, perLaunch) {
		grant, err := w.client.Grant(w.t.Context(), 3600)
		if err != nil {
			w.t.Fatal(err)
		}
		var puts []clientv3.Op
		for _, i := range some {
			data, err := json.Marshal(heartbeat(i.ID))
			if err != nil {
				w.t.Fatal(err)
			}
			puts = append(puts, clientv3.OpPut("/lapse/default/heartbeats/"+i.ID, string(data), clientv3.WithLease(grant.ID)))
		}
		if _, err := w.client.Txn(w.t.Context()).Then(puts...).Commit(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// claim makes heartbeats as sidecars do, each with an etcd lease of its own.
func (w *world) claim(instances []lease.Instance) []lease.Claim {
	w.t.Helper()
	claims := make([]lease.Claim, len(instances))
	errs := make([]error, len(instances))
	abreast(64, len(instances), func(n int) {
		ctx, cancel := context.WithTimeout(w.t.Context(), generous)
		defer cancel()
		claims[n], errs[n] = w.store.Claim(ctx, heartbeat(instances[n].ID))
	})
	for n, err := range errs {
		if err != nil {
			w.t.Fatal(fmt.Errorf("claim %s: %w", instances[n].ID, err))
		}
	}
	return claims
}

// abreast calls do for each number below n, workers at once.
func abreast(workers, n int, do func(int)) {
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := range numbers {
				do(n)
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	wg.Wait()
}
