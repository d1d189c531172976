package observe

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"lapse/janitor/plan"
	"lapse/lease"
)

// zonesAtOnce is how many zones of one location are asked about by id side by side.
const zonesAtOnce = 8

// Inventory observes EC2 and the registry.
type Inventory struct {
	Clouds   []Cloud
	Registry Registry
	Now      func() time.Time // the wall clock
	// KnownEmpty are the locations that are not listed, as they were listed last. See [Listings.KnownEmpty].
	KnownEmpty map[lease.Location]plan.LocationView
	// Read gets what the registry holds, and returns what else to read from EC2. It is called once, between the listing and
	// the look-ups. If it fails, Observe fails.
	Read func(ctx context.Context, s lease.Snapshot, read time.Time) (Wanted, error)
}

// Wanted is what to read from EC2 after the registry.
type Wanted struct {
	Due       func(*lease.Lease) bool // whether the date of a lease has passed: then it is looked up even if the listing failed
	Leftovers []*lease.Launch         // launches whose leftovers are listed
	// Keyed are launches whose instances are looked for by their key pairs, because they may bear no tag.
	Keyed []*lease.Launch
}

// Listings are what EC2 said of every location, and when.
type Listings struct {
	Locations []plan.LocationView
	Clock
	Index map[plan.SeenAt]*lease.Instance // of the instances in Locations
}

// Clock is when EC2 was asked, by both of our clocks.
type Clock struct{ Wall, Mono time.Time }

// Drift is how far the wall clock has been set since EC2 was asked: the time that passed by it, less the time that
// really passed. What was measured of the clock then has to be corrected by it.
func (c Clock) Drift(wall time.Time) time.Duration {
	return wall.Round(0).Sub(c.Wall) - time.Since(c.Mono)
}

// Observe lists EC2 first, which is what may be destroyed, and reads the registry second, which is what excuses it. In
// this order an instance that is created and bound at the same time is either not seen at all, or seen with its lease. Then
// Observe asks EC2 by id for what the listing lacks. If the listing of a location fails, a brake engages there. A registry
// that cannot be read is an error.
func (in Inventory) Observe(ctx context.Context) (Listings, error) {
	seen := in.list(ctx)
	read := time.Now()
	snapshot, err := in.Registry.Snapshot(ctx)
	if err != nil {
		return Listings{}, fmt.Errorf("read the registry: %w", err)
	}
	wanted, err := in.Read(ctx, snapshot, read)
	if err != nil {
		return Listings{}, err
	}
	in.lookUp(ctx, seen, lacking(seen, snapshot.Leases, wanted.Due))
	in.findLeftovers(ctx, seen, wanted)
	seen.Index = plan.Indexed(seen.Locations)
	return seen, nil
}

// list lists all locations but those known to be empty.
func (in Inventory) list(ctx context.Context) Listings {
	s := Listings{Locations: make([]plan.LocationView, len(in.Clouds)), Clock: Clock{Wall: in.Now().Round(0), Mono: time.Now()}}
	in.sideBySide(func(n int, cloud Cloud) {
		kept, is := in.KnownEmpty[cloud.Location()]
		if is {
			s.Locations[n] = kept
			return
		}
		s.Locations[n] = list(ctx, cloud)
	})
	return s
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

// lacking returns, for each location, the leased instances that its listing lacks: it lags behind, the tag may be gone, and
// when the listing failed, what is due by declared causes goes on by id. They are by the zone that is asked about, since
// one that is out of reach fails a call for all; where the listing did not fail, they are one lot.
func lacking(s Listings, leases []lease.Lease, due func(*lease.Lease) bool) []map[string][]string {
	ids := make([]map[string][]string, len(s.Locations))
	at := make(map[lease.Location]int, len(s.Locations))
	listed := make([]map[string]bool, len(s.Locations))
	for n := range s.Locations {
		p := &s.Locations[n]
		ids[n], at[p.Location], listed[n] = map[string][]string{}, n, make(map[string]bool, len(p.Instances))
		for i := range p.Instances {
			listed[n][p.Instances[i].ID] = true
		}
	}
	for i := range leases {
		l := &leases[i]
		n, swept := at[l.Location()]
		if !swept || listed[n][l.InstanceID] || !l.Live() && l.State != lease.StateRevoked {
			continue
		}
		if p := &s.Locations[n]; p.Listed() || l.State == lease.StateRevoked || due(l) {
			zone := ""
			if !p.Listed() {
				zone = cmp.Or(l.ZoneID, l.Zone)
			}
			ids[n][zone] = append(ids[n][zone], l.InstanceID)
		}
	}
	return ids
}

// lookUp asks each location by id for what its listing lacks, about all zones side by side: none of them may answer.
func (in Inventory) lookUp(ctx context.Context, s Listings, lacking []map[string][]string) {
	in.sideBySide(func(n int, cloud Cloud) {
		var mu sync.Mutex
		var zones sync.WaitGroup
		free := make(chan struct{}, zonesAtOnce)
		for _, zone := range slices.Sorted(maps.Keys(lacking[n])) {
			free <- struct{}{}
			zones.Go(func() {
				defer func() { <-free }()
				ids := lacking[n][zone]
				listing, err := cloud.Describe(ctx, ids)
				mu.Lock()
				defer mu.Unlock()
				lookedUp(&s.Locations[n], ids, listing, err)
			})
		}
		zones.Wait()
	})
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

// findLeftovers lists what launches left. It is no part of what else a sweep rests on: where it fails, leftovers stay for
// now, and nothing else is held back. Where instances could not be listed, it is not tried.
func (in Inventory) findLeftovers(ctx context.Context, s Listings, wanted Wanted) {
	if len(wanted.Leftovers)+len(wanted.Keyed) == 0 {
		return
	}
	in.sideBySide(func(n int, cloud Cloud) {
		p := &s.Locations[n]
		if !p.Listed() {
			return
		}
		tokens, names, due := []string{}, []string{}, false
		for _, l := range wanted.Leftovers {
			if l.Location() == p.Location {
				p.Sought, due = append(p.Sought, l.Token), due || l.Anima == lease.AnimaKeyPair
				for _, a := range l.Attempts {
					tokens = append(tokens, a.ClientToken)
				}
				names = append(names, l.KeyNames()...)
			}
		}
		err := findKeyed(ctx, cloud, p, wanted.Keyed, !due)
		if err == nil && len(tokens) > 0 {
			var listing lease.LeftoverListing
			listing, err = cloud.Leftovers(ctx, tokens, names)
			p.Leftovers = listing.Leftovers
		}
		if err != nil {
			p.LeftoverErr = err.Error()
		}
	})
}

// findKeyed adds the instances that show the key pairs of launches, and that the listing lacks because they bear no tag.
func findKeyed(ctx context.Context, cloud Cloud, p *plan.LocationView, launches []*lease.Launch, filtered bool) error {
	var names []string
	for _, l := range launches {
		if l.Location() == p.Location {
			names = append(names, l.Sought()...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := cloud.Keyed(ctx, names, filtered)
	for _, i := range found {
		if !slices.ContainsFunc(p.Instances, func(listed lease.Instance) bool { return listed.ID == i.ID }) {
			p.Instances, p.ByID = append(p.Instances, i), p.ByID+1
		}
	}
	return err
}

func (in Inventory) sideBySide(each func(int, Cloud)) {
	var wg sync.WaitGroup
	for n, cloud := range in.Clouds {
		wg.Go(func() { each(n, cloud) })
	}
	wg.Wait()
}
