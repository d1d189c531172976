package leasetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"lapse/lease"
)

// Cloud is EC2 in one location, in memory: a map of instances, and the ids that it was asked to terminate. Set what is to
// happen before it is used, or with Mu held.
type Cloud struct {
	Mu           sync.Mutex
	Where        lease.Location
	Instances    map[string]lease.Instance
	Remains      map[string]lease.Leftover // by id
	Skew         time.Duration             // of our clock, as listings tell it
	Undated      bool                      // listings tell no time
	Err          error                     // of List, Describe and Tag, and of the same for leftovers
	Refuse       map[string]string         // why Terminate refuses an instance: id → code
	Busy         map[string]bool           // leftovers that something still uses
	TagsDenied   bool
	OnReserve    func() error // what happens while EC2's limits are waited for
	OnDescribe   func(n int)  // called before the n-th description, counted from 1
	OnLeftovers  func()       // called before leftovers are described by id
	Descriptions int          // how often instances were described by id
	TagCalls     int
	Terminated   []string
	Removed      []string // leftovers
}

// Location is where it is.
func (c *Cloud) Location() lease.Location { return c.Where }

// List returns the instances that bear a registry tag.
func (c *Cloud) List(context.Context) (lease.Listing, error) {
	return c.listing(func(i lease.Instance) bool { return i.Tags[lease.TagRegistry] != "" })
}

// Describe looks instances up by id.
func (c *Cloud) Describe(_ context.Context, ids []string) (lease.Listing, error) {
	c.Mu.Lock()
	c.Descriptions++
	n := c.Descriptions
	c.Mu.Unlock()
	if c.OnDescribe != nil {
		c.OnDescribe(n)
	}
	return c.listing(func(i lease.Instance) bool { return slices.Contains(ids, i.ID) })
}

func (c *Cloud) listing(wanted func(lease.Instance) bool) (lease.Listing, error) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	listing := lease.Listing{Skew: c.Skew, Dated: !c.Undated}
	for _, i := range c.Instances {
		if wanted(i) {
			listing.Instances = append(listing.Instances, i)
		}
	}
	return listing, c.Err
}

// Reserve calls OnReserve.
func (c *Cloud) Reserve(context.Context, int) error {
	if c.OnReserve != nil {
		return c.OnReserve()
	}
	return nil
}

// Tag sets tags of instances. Of what is attached to them it only answers that it did.
func (c *Cloud) Tag(_ context.Context, resources []string, tags map[string]string) []lease.Tagging {
	var all []lease.Tagging
	for _, id := range resources {
		c.Mu.Lock()
		_, there := c.Instances[id]
		denied, err := c.TagsDenied, c.Err
		c.Mu.Unlock()
		t := lease.Tagging{ID: id, RequestID: "req-3", Err: err}
		switch {
		case err != nil:
		case denied:
			t.Code, t.Err = "UnauthorizedOperation", errors.New("denied")
		case there:
			c.Change(id, func(i *lease.Instance) { maps.Copy(i.Tags, tags) })
		}
		all = append(all, t)
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.TagCalls++
	return all
}

// Terminate shuts instances down, except those that Refuse names.
func (c *Cloud) Terminate(_ context.Context, ids []string) []lease.Termination {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	var all []lease.Termination
	for _, id := range ids {
		t := lease.Termination{ID: id, RequestID: "req-1"}
		if code := c.Refuse[id]; code != "" {
			t.Code, t.Err = code, errors.New("refused")
		} else {
			c.Terminated = append(c.Terminated, id)
			i := c.Instances[id]
			i.State = lease.InstanceShuttingDown
			c.Instances[id] = i
			t.State = lease.InstanceShuttingDown
		}
		all = append(all, t)
	}
	return all
}

// Keyed returns the instances that show one of these key pairs.
func (c *Cloud) Keyed(_ context.Context, names []string, _ bool) ([]lease.Instance, error) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	var keyed []lease.Instance
	for _, id := range slices.Sorted(maps.Keys(c.Instances)) {
		if slices.Contains(names, c.Instances[id].KeyName) {
			keyed = append(keyed, c.Instances[id])
		}
	}
	return keyed, c.Err
}

// Leftovers returns those whose launch tag is one of these client tokens, and the key pairs of these names.
func (c *Cloud) Leftovers(_ context.Context, clientTokens, keyNames []string) (lease.LeftoverListing, error) {
	return c.left(func(x lease.Leftover) bool {
		return slices.Contains(clientTokens, x.Tags[lease.TagLaunch]) || slices.Contains(keyNames, x.Name)
	})
}

// DescribeLeftovers looks leftovers up by kind and id.
func (c *Cloud) DescribeLeftovers(_ context.Context, wanted []lease.Leftover) (lease.LeftoverListing, error) {
	if c.OnLeftovers != nil {
		c.OnLeftovers()
	}
	return c.left(func(x lease.Leftover) bool {
		return slices.ContainsFunc(wanted, func(w lease.Leftover) bool { return w.ID == x.ID && w.Kind == x.Kind })
	})
}

func (c *Cloud) left(wanted func(lease.Leftover) bool) (lease.LeftoverListing, error) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	listing := lease.LeftoverListing{Skew: c.Skew, Dated: !c.Undated}
	for _, x := range c.Remains {
		if wanted(x) {
			listing.Leftovers = append(listing.Leftovers, x)
		}
	}
	return listing, c.Err
}

// Remove deletes a leftover, unless it is busy.
func (c *Cloud) Remove(_ context.Context, x lease.Leftover) lease.Removal {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if c.Busy[x.ID] {
		return lease.Removal{ID: x.ID, Busy: true, Code: "DependencyViolation", Err: errors.New("in use")}
	}
	c.Removed = append(c.Removed, x.ID)
	delete(c.Remains, x.ID)
	return lease.Removal{ID: x.ID, RequestID: "req-2"}
}

// Change changes an instance. What was listed before stays as it was.
func (c *Cloud) Change(id string, change func(*lease.Instance)) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	i := c.Instances[id]
	if i.Tags = maps.Clone(i.Tags); i.Tags == nil { // what was listed before stays as it was
		i.Tags = map[string]string{}
	}
	change(&i)
	c.Instances[id] = i
}

// Turn turns an instance into a state.
func (c *Cloud) Turn(id string, state lease.InstanceState) {
	c.Change(id, func(i *lease.Instance) { i.State = state })
}

// Ended are the ids of the terminated, in order.
func (c *Cloud) Ended() []string {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	return slices.Sorted(slices.Values(c.Terminated))
}
