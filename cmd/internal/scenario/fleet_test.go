//go:build e2e

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"lapse/lease"
	"lapse/lease/ec2/ec2sim"
	"lapse/lease/self"
	"lapse/sidecar"
)

const (
	perLaunch        = 100
	heartbeatTimeout = lease.MinHeartbeatTimeout
)

// kind is what the leases of a fleet have in common.
type kind struct {
	heartbeatTimeout time.Duration // 0: nobody renews them
	term             time.Duration // from now; 0: an hour
	zone             string        // of all of them; empty: a third in each of the region's
}

// launch makes running instances with leases, a hundred a launch, and returns their ids. Every other one bears the tag
// hint, by which EC2 may be made to show half of them.
func (w *world) launch(n int, k kind) []string {
	w.t.Helper()
	registry, err := w.store.Registry(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if k.term == 0 {
		k.term = time.Hour
	}
	over := time.Now().Add(k.term)
	var ids []string
	for len(ids) < n {
		ids = append(ids, w.launchSome(registry, min(perLaunch, n-len(ids)), k, over)...)
	}
	return ids
}

func (w *world) launchSome(registry lease.Registry, n int, k kind, over time.Time) []string {
	w.t.Helper()
	token, now := uuid.NewString(), time.Now()
	made := lease.Launch{
		Schema: lease.Schema, Token: token, State: lease.LaunchOpen, Account: account, Region: region, Count: n, HeartbeatTimeout: lease.Duration(k.heartbeatTimeout),
		Window: lease.Duration(time.Minute), Holder: "ada", CreatedAt: now.UTC(), Request: json.RawMessage(`{"ImageId":"ami-0123456789abcdef0"}`),
		Attempts: []lease.Attempt{{ClientToken: token + ".1", Min: n, Max: n, Sends: 1, LastSend: now.UTC()}},
	}
	made, err := w.store.PutLaunch(w.t.Context(), made)
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	var leases []lease.Lease
	for range n {
		zone, half := k.zone, [2]string{"half", "rest"}[len(w.fleet)%2]
		if zone == "" {
			zone = region + string("abc"[len(w.fleet)%3])
		}
		tags := map[string]string{
			lease.TagRegistry: registry.UUID, lease.TagLaunch: token + ".1", lease.TagHolder: "ada", "hint": half,
		}
		i := w.sim.Create(ec2sim.Instance{Region: region, Zone: zone, ClientToken: token + ".1", Tags: tags})
		seen := lease.Instance{
			ID: i.ID, Location: lease.Location{Account: account, Region: region}, Zone: i.Zone, ZoneID: i.ZoneID, State: lease.InstanceRunning,
			LaunchTime: i.LaunchTime, ClientToken: i.ClientToken, Tags: i.Tags,
		}
		ids, w.fleet = append(ids, i.ID), append(w.fleet, seen)
		bound := made.Bind(now, seen, made.Attempts[0], lease.By{Actor: "cli:ada"})
		bound.ExpiresAt = over.UTC().Truncate(time.Millisecond)
		leases = append(leases, bound)
	}
	if made, err = w.store.PutLaunch(w.t.Context(), made.Launched(ids)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Bind(w.t.Context(), made, leases); err != nil {
		w.t.Fatal(err)
	}
	done, err := made.Done(now)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.PutLaunch(w.t.Context(), done); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// in are the ids of the fleet that are in a zone.
func (w *world) in(zone string) []string {
	var ids []string
	for _, i := range w.fleet {
		if i.Zone == zone {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// sidecars are running, each in a goroutine of its own.
type sidecars struct {
	stop map[string]context.CancelFunc
}

// heartbeat starts the real sidecar of each instance, and waits until each renews within the timeout of its lease.
func (w *world) heartbeat(ids ...string) *sidecars {
	w.t.Helper()
	s := &sidecars{stop: map[string]context.CancelFunc{}}
	var running sync.WaitGroup
	for _, id := range ids {
		keeper, err := sidecar.New(sidecar.Config{
			InstanceID: id, BootID: uuid.NewString(), Version: "scenario", Logger: slog.New(slog.DiscardHandler), Now: time.Now,
			Open: func(context.Context) (sidecar.Registry, error) {
				return self.New(w.store, time.Now, slog.New(slog.DiscardHandler)), nil
			},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		ctx, stop := context.WithCancel(w.t.Context())
		s.stop[id] = stop
		running.Go(func() { _ = keeper.Run(ctx) })
	}
	w.t.Cleanup(func() {
		for _, stop := range s.stop {
			stop()
		}
		running.Wait()
	})
	w.until("every sidecar renewing its lease", func() bool { return w.renewing(ids) == len(ids) })
	return s
}

// renewing counts the instances whose heartbeat exists, shows their lease, and is kept by its timeout.
func (w *world) renewing(ids []string) int {
	s, err := w.store.Snapshot(w.t.Context())
	if err != nil {
		return 0
	}
	n := 0
	for _, l := range s.Leases {
		if hb := s.Heartbeats[l.InstanceID]; hb.Held && hb.HeartbeatTimeout == l.HeartbeatTimeout && hb.Changes == l.Changes && slices.Contains(ids, l.InstanceID) {
			n++
		}
	}
	return n
}

// die lets instances lose their heartbeats: their sidecars stop, and nobody reports it.
func (s *sidecars) die(ids ...string) time.Time {
	for _, id := range ids {
		s.stop[id]()
	}
	return time.Now()
}

// asked returns when EC2 was first asked to terminate each instance, and fails if it was asked twice for one.
func (w *world) asked() map[string]time.Time {
	w.t.Helper()
	at := map[string]time.Time{}
	for _, c := range w.sim.Calls() {
		if c.Action != "TerminateInstances" {
			continue
		}
		for _, id := range c.IDs {
			if _, before := at[id]; before {
				w.t.Errorf("EC2 was asked twice to terminate %s", id)
				continue
			}
			at[id] = c.Time
		}
	}
	return at
}

// nobodyDied checks, by EC2's own word, that nobody was ever asked to end, and that every lease is active.
func (w *world) nobodyDied() {
	w.t.Helper()
	w.onlyDied(nil)
	if got := w.sim.CallCounts()["TerminateInstances"]; got > 0 {
		w.t.Errorf("TerminateInstances was called %d times", got)
	}
}

// onlyDied checks, by EC2's own word, that these and no others were asked to end, each once, and that the lease of every
// other one is active.
func (w *world) onlyDied(dead []string) {
	w.t.Helper()
	asked := w.asked()
	for _, id := range dead {
		if _, was := asked[id]; !was {
			w.t.Errorf("%s still runs", id)
		}
	}
	leases := map[string]lease.Lease{}
	for _, l := range w.snapshot().Leases {
		leases[l.InstanceID] = l
	}
	for _, i := range w.fleet {
		if slices.Contains(dead, i.ID) {
			continue
		}
		if _, was := asked[i.ID]; was {
			w.t.Errorf("%s was terminated: %s", i.ID, story(leases[i.ID]))
		} else if state := leases[i.ID].State; state != lease.StateActive {
			w.t.Errorf("the lease of %s is %q: %s", i.ID, state, story(leases[i.ID]))
		}
		if now, there := w.sim.Instance(i.ID); !there || now.State != ec2sim.Running {
			w.t.Errorf("%s is %q", i.ID, now.State)
		}
	}
}

// story is the history of a lease, for people.
func story(l lease.Lease) string {
	var said []string
	for _, h := range l.History {
		said = append(said, fmt.Sprintf("%s %s by %s (%s)", h.Time.Format("15:04:05.000"), h.Action, h.Actor, h.Reason))
	}
	return strings.Join(said, "; ")
}

// shorten lets terms end at that time.
func (w *world) shorten(until time.Time, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if _, _, err := w.store.UpdateLease(w.t.Context(), id, func(l lease.Lease) (lease.Lease, error) {
			return l.Extend(time.Now(), lease.Extension{Until: until, AllowShorten: true}, lease.By{Actor: "cli:ada"})
		}); err != nil {
			w.t.Fatal(errors.Join(fmt.Errorf("shorten %s", id), err))
		}
	}
}

// extend moves terms as `lease extend` does.
func (w *world) extend(by time.Duration, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		if _, _, err := w.store.UpdateLease(w.t.Context(), id, func(l lease.Lease) (lease.Lease, error) {
			return l.Extend(time.Now(), lease.Extension{Until: time.Now().Add(by)}, lease.By{Actor: "cli:ada"})
		}); err != nil {
			w.t.Fatal(errors.Join(fmt.Errorf("extend %s", id), err))
		}
	}
}
