package janitor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/enforce"
	"lapse/janitor/observe"
	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// counting is an observer that keeps the last count.
type counting struct {
	blind

	mu     sync.Mutex
	census plan.Census
}

func (c *counting) Counted(counted plan.Census) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.census = counted
}

func (c *counting) last() plan.Census {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.census
}

// counted decides about a view, and returns what the observer is told of it.
func counted(t *testing.T, w World) plan.Census {
	t.Helper()
	observer := &counting{}
	j, err := New(Config{
		Clouds: []Cloud{&recorder{}}, Policy: plan.DefaultPolicy(), Schedule: "@every 1m", Now: time.Now, Observe: observer,
		Log: slog.New(slog.DiscardHandler), Campaign: func(context.Context) (Leadership, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	v := w.View()
	term := &records{replica: j.replica, tags: enforce.NewTags(), joined: v.Joined, listings: observe.Listings{Locations: v.Locations}}
	term.count(plan.Decide(v))
	return observer.last()
}

func TestACensusCountsEachInstanceOnce(t *testing.T) {
	t.Parallel()
	stray := func(s *Subject) { Bare(s); s.Instance.Tags[lease.TagLaunch] = "" }
	stuck := WithLease(func(l *lease.Lease) { l.Stuck = "EC2 refuses: OperationNotPermitted"; l.Tries, l.TriedAt = 1, Noon })
	v := WorldOf(
		Holds("i-1"), Holds("i-2", Heartbeats), Holds("i-3", Lost(3*time.Minute)), Holds("i-4", Lost(time.Second), InZone("euw1-az2")),
		Holds("i-5", Over(time.Hour), Revoked(lease.CauseExpired, time.Minute), stuck), Holds("i-6", Ended(time.Hour), Missing),
		Holds("i-7", Bare, Foreign), Holds("i-8", Exempt), Holds("i-9", Bare, Exempt), Holds("i-10", stray),
		Holds("i-11", Bare, Is(lease.InstanceTerminated)), Holds("i-12", Heartbeats),
	)
	Bad("heartbeat", "i-12")(&v) // two verdicts about one instance
	Launches(Launch("web", lease.LaunchOpen), Launch("old", lease.LaunchDone))(&v)
	c := counted(t, v)

	if want := (plan.LocationCensus{Listed: true, Managed: 6, Foreign: 1, Untracked: 1, Exempt: 2, Stuck: 1}); c.Locations[Here] != want {
		t.Errorf("instances: %+v, want %+v", c.Locations[Here], want)
	}
	if want := map[lease.State]int{lease.StateActive: 6, lease.StateRevoked: 1, lease.StateEnded: 1}; !maps.Equal(c.Leases, want) {
		t.Errorf("leases: %v, want %v", c.Leases, want)
	}
	if want := map[lease.LaunchState]int{lease.LaunchOpen: 1, lease.LaunchDone: 1}; !maps.Equal(c.Launches, want) {
		t.Errorf("launches: %v, want %v", c.Launches, want)
	}
	if want := map[string]int{"euw1-az1": 1, "euw1-az2": 1}; !maps.Equal(c.Lost, want) {
		t.Errorf("lost: %v, want %v", c.Lost, want)
	}
	if c.Longest < 3*time.Minute || c.Longest > 4*time.Minute {
		t.Errorf("the longest loss is %s", c.Longest)
	}
	all := 0
	for _, n := range c.Verdicts {
		all += n
	}
	if planned := Decide(v); c.Mode != lease.ModeArmed || all != len(planned.Verdicts) {
		t.Errorf("mode %s, %d verdicts of %d: %v", c.Mode, all, len(planned.Verdicts), c.Verdicts)
	}
}

// BenchmarkCensus shows what counting adds to a decision about 100,000 leases.
func BenchmarkCensus(b *testing.B) {
	var subjects []Subject
	for n := range 100_000 {
		subjects = append(subjects, Holds(fmt.Sprintf("i-%06d", n), Heartbeats))
	}
	w := WorldOf(subjects...)
	v := w.View()
	planned := plan.Decide(v)
	term := &records{replica: &replica{Config: Config{Observe: &counting{}}}, tags: enforce.NewTags(), joined: v.Joined, listings: observe.Listings{Locations: v.Locations}}
	b.Run("decide", func(b *testing.B) {
		for b.Loop() {
			plan.Decide(v)
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			term.count(planned)
		}
	})
}
