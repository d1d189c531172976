package janitor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
)

// reader reads the registry at one revision.
type reader interface {
	Snapshot(ctx context.Context) (lease.Snapshot, error)
}

// sight is what EC2 said of every location.
type sight struct {
	locations []plan.LocationView
	wall      time.Time // when EC2 was asked, by the wall clock
	mono      time.Time // the same, by the monotonic one
	index     map[plan.SeenAt]*lease.Instance
}

// drift is how far the wall clock has been set since EC2 was asked: the time that passed by it, less the time that
// really passed. What was measured of the clock then has to be corrected by it.
func (s sight) drift(wall time.Time) time.Duration {
	return wall.Round(0).Sub(s.wall) - time.Since(s.mono)
}

// passed is how much time has passed since both clocks were read, by whichever says more. While a machine is suspended, the
// monotonic clock stands still, and does not tell for how long nobody could renew, extend or stop it.
func passed(mono, wall, now time.Time) time.Duration {
	return max(time.Since(mono), now.Round(0).Sub(wall).Abs())
}

// observation is what EC2 and the registry said.
type observation struct {
	sight
	snapshot lease.Snapshot
	least    int64 // the revision of etcd that had been observed before the snapshot was asked for
}

// observe lists EC2 first, which is what may be destroyed, and reads the registry second, which is what excuses it. In
// this order an instance that was created and bound meanwhile is either not seen at all, or seen with its lease. A location
// whose listing fails is held; a registry that cannot be read ends the sweep.
func observe(ctx context.Context, clouds []Cloud, registry reader, now func() time.Time, due func(lease.Lease) bool,
	seek func(lease.Snapshot) []sought,
) (observation, error) {
	seen := observation{sight: look(ctx, clouds, now, nil)}
	var err error
	if seen.snapshot, err = registry.Snapshot(ctx); err != nil {
		return observation{}, fmt.Errorf("read the registry: %w", err)
	}
	seen.lookUp(ctx, clouds, seen.lacking(seen.snapshot, due))
	seen.lookForLeftovers(ctx, clouds, seek(seen.snapshot))
	return seen, nil
}

// look lists all locations, but for the vacant ones.
func look(ctx context.Context, clouds []Cloud, now func() time.Time, knownEmpty map[lease.Location]plan.LocationView) sight {
	s := sight{locations: make([]plan.LocationView, len(clouds)), wall: now().Round(0), mono: time.Now()}
	sideBySide(clouds, func(n int, cloud Cloud) {
		kept, is := knownEmpty[cloud.Location()]
		if is {
			s.locations[n] = kept
			return
		}
		s.locations[n] = list(ctx, cloud)
	})
	return s
}

// lacking returns, for each location, the leased instances that its listing lacks: it lags behind, the tag may be gone, and
// when the listing failed, what is due by declared causes goes on by id. They are by the zone that is asked about, since
// one that is out of reach fails a call for all; where the listing did not fail, they are one lot.
func (s sight) lacking(snapshot lease.Snapshot, due func(lease.Lease) bool) []map[string][]string {
	ids := make([]map[string][]string, len(s.locations))
	for n, p := range s.locations {
		ids[n] = map[string][]string{}
		listed := make(map[string]bool, len(p.Instances))
		for _, i := range p.Instances {
			listed[i.ID] = true
		}
		for _, l := range snapshot.Leases {
			lacking := l.Location() == p.Location && !listed[l.InstanceID] && (l.Live() || l.State == lease.StateRevoked)
			if lacking && (p.Listed() || l.State == lease.StateRevoked || due(l)) {
				zone := ""
				if !p.Listed() {
					zone = cmp.Or(l.ZoneID, l.Zone)
				}
				ids[n][zone] = append(ids[n][zone], l.InstanceID)
			}
		}
	}
	return ids
}

// lookUp asks each location by id for what its listing lacks, about all zones side by side: none of them may answer.
func (s sight) lookUp(ctx context.Context, clouds []Cloud, lacking []map[string][]string) {
	sideBySide(clouds, func(n int, cloud Cloud) {
		var mu sync.Mutex
		abreast(zonesAtOnce, slices.Sorted(maps.Keys(lacking[n])), func(zone string) {
			ids := lacking[n][zone]
			listing, err := cloud.Describe(ctx, ids)
			mu.Lock()
			defer mu.Unlock()
			lookedUp(&s.locations[n], ids, listing, err)
		})
	})
}

func sideBySide(clouds []Cloud, each func(int, Cloud)) {
	var wg sync.WaitGroup
	for n, cloud := range clouds {
		wg.Go(func() { each(n, cloud) })
	}
	wg.Wait()
}

func list(ctx context.Context, cloud Cloud) plan.LocationView {
	p := plan.LocationView{Location: cloud.Location(), Absent: map[string]bool{}, At: time.Now()}
	listing, err := cloud.List(ctx)
	if err != nil {
		p.Err = err.Error()
		return p
	}
	p.Instances, p.Skew, p.Dated = listing.Instances, listing.Skew, listing.Dated
	return p
}

// lookedUp takes in the answer about some ids.
func lookedUp(p *plan.LocationView, ids []string, listing lease.Listing, err error) {
	if err != nil {
		if p.Listed() {
			p.Err = "look-up by id: " + err.Error()
		}
		return
	}
	if !p.Dated {
		p.Skew, p.Dated = listing.Skew, listing.Dated
	}
	p.Instances = append(p.Instances, listing.Instances...)
	p.ByID += len(listing.Instances)
	found := make(map[string]bool, len(listing.Instances))
	for _, i := range listing.Instances {
		found[i.ID] = true
	}
	for _, id := range ids {
		if !found[id] {
			p.Absent[id] = true
		}
	}
}

// Preview is a look and a decision without a leadership: nothing is written, and no silence is judged.
func Preview(ctx context.Context, clouds []Cloud, registry reader, p plan.Policy, now func() time.Time) (plan.View, plan.Plan, error) {
	p.NoSilence = true
	due := func(l lease.Lease) bool { return l.Over(now(), p.TermGrace) }
	seen, err := observe(ctx, clouds, registry, now, due, closedLaunches)
	if err != nil {
		return plan.View{}, plan.Plan{}, err
	}
	v := plan.View{Now: now().Round(0), Policy: p, Snapshot: seen.snapshot, Locations: seen.locations, Silences: map[string]plan.Silence{}}
	v.Standing = v.Snapshot.Registry.Stands(v.Snapshot.Checkpoint.Standing)
	for _, l := range seen.snapshot.Leases {
		v.Silences[l.InstanceID] = plan.Silence{Broken: seen.snapshot.Heartbeats[l.InstanceID].Held}
	}
	return v, plan.Decide(v), nil
}
