package lease_test

import (
	"testing"
	"time"

	"lapse/lease"
)

func TestACheckpointIsFreshUntilTheNextSweepIsLate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	friday := time.Date(2026, 12, 4, 18, 0, 0, 0, time.UTC)
	monday := time.Date(2026, 12, 7, 8, 0, 0, 0, time.UTC)
	next := func(after time.Duration) time.Time { return friday.Add(after) }
	for name, c := range map[string]struct {
		next, now time.Time
		want      bool
	}{
		"now":                                {next(time.Minute), friday, true},
		"just before it is late":             {next(time.Minute), next(4 * time.Minute), true},
		"just late":                          {next(time.Minute), next(4*time.Minute + 1), false},
		"short pauses, three minutes after":  {next(time.Second), next(3*time.Minute + time.Second), true},
		"short pauses, just late":            {next(time.Second), next(3*time.Minute + time.Second + 1), false},
		"office hours, on Sunday":            {monday, friday.Add(42 * time.Hour), true},
		"office hours, on Monday at 8:03":    {monday, monday.Add(3 * time.Minute), true},
		"office hours, a moment later":       {monday, monday.Add(3*time.Minute + 1), false},
		"a week's pause":                     {next(7 * day), next(7*day + 3*time.Minute), true},
		"a week's pause, just late":          {next(7 * day), next(7*day + 3*time.Minute + 1), false},
		"a year's pause, within a week":      {next(365 * day), next(7*day + 3*time.Minute), true},
		"a year's pause, after a week":       {next(365 * day), next(7*day + 3*time.Minute + 1), false},
		"the end of time, after a week":      {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), next(8 * day), false},
		"no next sweep":                      {time.Time{}, friday, false},
		"no next sweep, by a clock behind":   {time.Time{}, next(-time.Second), false},
		"the next sweep was a minute before": {next(-time.Minute), next(2 * time.Minute), true},
		"the same, and late":                 {next(-time.Minute), next(2*time.Minute + 1), false},
		"the next sweep was an hour before":  {next(-time.Hour), friday, false},
		"dated 10 s ahead":                   {next(time.Minute), next(-10 * time.Second), true},
		"dated a little more ahead":          {next(time.Minute), next(-10*time.Second - 1), false},
		"dated far ahead":                    {next(time.Minute), next(-day), false},
		"office hours, dated far ahead":      {monday, next(-day), false},
	} {
		if got := (lease.Checkpoint{Time: friday, NextSweep: c.next}).Fresh(c.now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (lease.Checkpoint{}).Fresh(time.Time{}) || (lease.Checkpoint{}).Fresh(noon) || (lease.Checkpoint{NextSweep: noon}).Fresh(noon) {
		t.Error("a registry that was never swept looks fresh")
	}
}

func TestACheckpointNamesItsLocations(t *testing.T) {
	t.Parallel()
	s := lease.Checkpoint{Locations: []lease.Location{{Account: "1", Region: "eu-west-1"}, {Account: "2", Region: "us-east-1"}}}
	for p, want := range map[lease.Location]bool{
		{Account: "1", Region: "eu-west-1"}: true, {Account: "2", Region: "us-east-1"}: true,
		{Account: "1", Region: "us-east-1"}: false, {Account: "2", Region: "eu-west-1"}: false, {}: false,
	} {
		if s.Names(p) != want {
			t.Errorf("%s: %t", p, !want)
		}
	}
	if (lease.Checkpoint{}).Names(lease.Location{}) {
		t.Error("a checkpoint without locations names one")
	}
}

func TestARegistryRemembersWhenItsModeWasSet(t *testing.T) {
	t.Parallel()
	r := lease.NewRegistry(noon.Add(999), "uuid-1", lease.ModeObserve)
	want := lease.Registry{
		Schema: lease.Schema, MinSchema: lease.Schema, UUID: "uuid-1", Mode: lease.ModeObserve, ModeSince: noon, CreatedAt: noon,
	}
	if !same(r, want) {
		t.Errorf("made %+v", r)
	}
	if again := r.To(at(time.Hour), lease.ModeObserve, lease.By{}); !same(again, r) {
		t.Errorf("the same mode again made %+v", again)
	}
	armed := r.To(at(time.Hour), lease.ModeArmed, lease.By{})
	if armed.Mode != lease.ModeArmed || !armed.ModeSince.Equal(at(time.Hour)) || !armed.CreatedAt.Equal(noon) {
		t.Errorf("armed as %+v", armed)
	}
}

func TestAPausedRegistryResumesToTheModeBefore(t *testing.T) {
	t.Parallel()
	for _, before := range []lease.Mode{lease.ModeObserve, lease.ModeArmed} {
		r := lease.NewRegistry(noon, "uuid-1", before)
		paused := r.To(at(time.Hour), lease.ModePaused, lease.By{}).To(at(2*time.Hour), lease.ModePaused, lease.By{})
		if paused.Mode != lease.ModePaused || paused.Before != before || !paused.ModeSince.Equal(at(time.Hour)) {
			t.Errorf("paused as %+v", paused)
		}
		resumed := paused.Resume(at(3*time.Hour), lease.By{})
		if resumed.Mode != before || resumed.Before != "" || !resumed.ModeSince.Equal(at(3*time.Hour)) {
			t.Errorf("resumed as %+v", resumed)
		}
		if again := resumed.Resume(at(4*time.Hour), lease.By{}); !same(again, resumed) {
			t.Errorf("resumed twice as %+v", again)
		}
	}
	for _, unclear := range []lease.Mode{"", lease.ModePaused, "ARMED"} {
		r := lease.Registry{UUID: "uuid-1", Mode: lease.ModePaused, Before: unclear}.Resume(noon, lease.By{})
		if r.Mode != lease.ModeObserve || r.Before != "" {
			t.Errorf("before the pause it was %q, and it resumed as %+v", unclear, r)
		}
	}
}
