package lease_test

import (
	"testing"
	"time"

	"lapse/lease"
)

func TestAStampIsFreshForThreeIntervalsAndAtLeastThreeMinutes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		interval, age time.Duration
		want          bool
	}{
		"now":                                {time.Minute, 0, true},
		"three intervals old":                {15 * time.Minute, 45 * time.Minute, true},
		"just older than three intervals":    {15 * time.Minute, 45*time.Minute + 1, false},
		"short intervals, three minutes old": {time.Second, 3 * time.Minute, true},
		"short intervals, just older":        {time.Second, 3*time.Minute + 1, false},
		"no interval, three minutes old":     {0, 3 * time.Minute, true},
		"a little in the future":             {time.Minute, -3 * time.Minute, true},
		"far in the future":                  {time.Minute, -3*time.Minute - 1, false},
	} {
		s := lease.Sweep{Time: noon, Interval: lease.Duration(c.interval)}
		if got := s.Fresh(at(c.age)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (lease.Sweep{}).Fresh(time.Time{}) || (lease.Sweep{}).Fresh(noon) {
		t.Error("a registry that was never swept looks fresh")
	}
}

func TestAStampNamesItsPlaces(t *testing.T) {
	t.Parallel()
	s := lease.Sweep{Places: []lease.Place{{Account: "1", Region: "eu-west-1"}, {Account: "2", Region: "us-east-1"}}}
	for p, want := range map[lease.Place]bool{
		{Account: "1", Region: "eu-west-1"}: true, {Account: "2", Region: "us-east-1"}: true,
		{Account: "1", Region: "us-east-1"}: false, {Account: "2", Region: "eu-west-1"}: false, {}: false,
	} {
		if s.Names(p) != want {
			t.Errorf("%s: %t", p, !want)
		}
	}
	if (lease.Sweep{}).Names(lease.Place{}) {
		t.Error("a stamp without places names one")
	}
}

func TestARegistryRemembersSinceWhenItsModeHolds(t *testing.T) {
	t.Parallel()
	r := lease.NewRegistry(noon.Add(999), "uuid-1", lease.ModeObserve)
	want := lease.Registry{
		Schema: lease.Schema, MinSchema: lease.Schema, UUID: "uuid-1", Mode: lease.ModeObserve, ModeSince: noon, CreatedAt: noon,
	}
	if !same(r, want) {
		t.Errorf("made %+v", r)
	}
	if again := r.To(at(time.Hour), lease.ModeObserve); !same(again, r) {
		t.Errorf("the same mode again made %+v", again)
	}
	armed := r.To(at(time.Hour), lease.ModeArmed)
	if armed.Mode != lease.ModeArmed || !armed.ModeSince.Equal(at(time.Hour)) || !armed.CreatedAt.Equal(noon) {
		t.Errorf("armed as %+v", armed)
	}
}

func TestAPausedRegistryResumesToTheModeBefore(t *testing.T) {
	t.Parallel()
	for _, before := range []lease.Mode{lease.ModeObserve, lease.ModeArmed} {
		r := lease.NewRegistry(noon, "uuid-1", before)
		paused := r.To(at(time.Hour), lease.ModePaused).To(at(2*time.Hour), lease.ModePaused)
		if paused.Mode != lease.ModePaused || paused.Before != before || !paused.ModeSince.Equal(at(time.Hour)) {
			t.Errorf("paused as %+v", paused)
		}
		resumed := paused.Resume(at(3 * time.Hour))
		if resumed.Mode != before || resumed.Before != "" || !resumed.ModeSince.Equal(at(3*time.Hour)) {
			t.Errorf("resumed as %+v", resumed)
		}
		if again := resumed.Resume(at(4 * time.Hour)); !same(again, resumed) {
			t.Errorf("resumed twice as %+v", again)
		}
	}
	for _, unclear := range []lease.Mode{"", lease.ModePaused, "ARMED"} {
		r := lease.Registry{UUID: "uuid-1", Mode: lease.ModePaused, Before: unclear}.Resume(noon)
		if r.Mode != lease.ModeObserve || r.Before != "" {
			t.Errorf("before the pause it was %q, and it resumed as %+v", unclear, r)
		}
	}
}
