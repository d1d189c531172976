package janitor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"lapse/lease"
)

// counting is an observer that keeps the last count.
type counting struct {
	blind
	last Census
}

func (c *counting) Counted(counted Census) { c.last = counted }

// counted decides about a view, and returns what the observer is told of it.
func counted(t *testing.T, v View, beats map[string]*beat) Census {
	t.Helper()
	observer := &counting{}
	j, err := New(Config{
		Clouds: []Cloud{&recorder{}}, Policy: DefaultPolicy(), Schedule: "@every 1m", Now: time.Now, Observe: observer,
		Log: slog.New(slog.DiscardHandler), Campaign: func(context.Context) (Office, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	term := &term{
		Janitor: j, mem: &memory{beats: beats}, seen: observation{sight: sight{places: v.Places}, snapshot: v.Snapshot},
	}
	term.count(decide(v))
	return observer.last
}

func TestACensusCountsEachOnce(t *testing.T) {
	t.Parallel()
	stray := func(s *subject) { bare(s); s.instance.Tags[lease.TagLaunch] = "" }
	stuck := withLease(func(l *lease.Lease) { l.Stuck = "EC2 refuses: OperationNotPermitted"; l.Tries, l.TriedAt = 1, noon })
	v := viewOf(
		holds("i-1"), holds("i-2", beats), holds("i-3", silent(3*time.Minute)), holds("i-4", silent(time.Second), inZone("euw1-az2")),
		holds("i-5", revoked(lease.CauseTerm, time.Minute), stuck), holds("i-6", ended(time.Hour), missing),
		holds("i-7", bare, foreign), holds("i-8", exempt), holds("i-9", bare, exempt), holds("i-10", stray),
		holds("i-11", bare, is(lease.InstanceTerminated)), holds("i-12", beats),
	)
	bad("heartbeat", "i-12")(&v) // two verdicts about one instance
	launches(launch("web", lease.LaunchOpen), launch("old", lease.LaunchDone))(&v)
	c := counted(t, v, map[string]*beat{"i-3": {lapsed: time.Now().Add(-3 * time.Minute)}})

	if want := (PlaceCensus{Listed: true, Managed: 6, Foreign: 1, Unexplained: 1, Exempt: 2, Stuck: 1}); c.Places[here] != want {
		t.Errorf("instances: %+v, want %+v", c.Places[here], want)
	}
	if want := map[lease.State]int{lease.StateActive: 6, lease.StateRevoked: 1, lease.StateEnded: 1}; !maps.Equal(c.Leases, want) {
		t.Errorf("leases: %v, want %v", c.Leases, want)
	}
	if want := map[lease.LaunchState]int{lease.LaunchOpen: 1, lease.LaunchDone: 1}; !maps.Equal(c.Launches, want) {
		t.Errorf("launches: %v, want %v", c.Launches, want)
	}
	if want := map[string]int{"euw1-az1": 1, "euw1-az2": 1}; !maps.Equal(c.Silent, want) {
		t.Errorf("silent: %v, want %v", c.Silent, want)
	}
	if c.Longest < 3*time.Minute || c.Longest > 4*time.Minute {
		t.Errorf("the longest silence is %s", c.Longest)
	}
	all := 0
	for _, n := range c.Verdicts {
		all += n
	}
	if plan := decide(v); c.Mode != lease.ModeArmed || all != len(plan.Verdicts) {
		t.Errorf("mode %s, %d verdicts of %d: %v", c.Mode, all, len(plan.Verdicts), c.Verdicts)
	}
}

// BenchmarkCensus shows what counting adds to a decision about 100,000 leases.
func BenchmarkCensus(b *testing.B) {
	var subjects []subject
	for n := range 100_000 {
		subjects = append(subjects, holds(fmt.Sprintf("i-%06d", n), beats))
	}
	v := viewOf(subjects...)
	plan := decide(v)
	term := &term{
		Janitor: &Janitor{Config: Config{Observe: &counting{}}}, mem: newMemory(noon),
		seen: observation{sight: sight{places: v.Places}, snapshot: v.Snapshot},
	}
	b.Run("decide", func(b *testing.B) {
		for b.Loop() {
			decide(v)
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			term.count(plan)
		}
	})
}

func TestWhatAListingLacksOfTheLeasedIsCounted(t *testing.T) {
	t.Parallel()
	v := viewOf(
		holds("i-1"), holds("i-2", missing), holds("i-3", missing), holds("i-4", missing, revoked(lease.CauseTerm, time.Minute)),
		holds("i-5", missing, revoked(lease.CauseTerm, time.Minute)), holds("i-6", missing), holds("i-7", bare),
	)
	shown := lease.Listing{Instances: []lease.Instance{
		*holds("i-2").instance, *holds("i-4").instance, *holds("i-6", is(lease.InstanceTerminated)).instance,
	}}
	v.Places[0].lookedUp([]string{"i-2", "i-3", "i-4", "i-5", "i-6"}, shown, nil)
	want := lease.Census{Managed: 4, Unexplained: 1, Unlisted: 1, Unseen: 1} // i-2 and i-3; the others need no listing
	if got := decide(v).Seen[here.String()]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
