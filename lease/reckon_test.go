package lease_test

import (
	"testing"
	"time"

	"lapse/lease"
)

func TestTimeIsTheLaterOfClockAndSweep(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	checkpoint := lease.Checkpoint{Time: at, Witnessed: at, NextSweep: at.Add(time.Minute)}
	ahead := lease.Checkpoint{Time: at.Add(24 * time.Hour), Witnessed: at, NextSweep: at.Add(25 * time.Hour)}
	for name, c := range map[string]struct {
		checkpoint   lease.Checkpoint
		own, now     time.Time
		behind, late time.Duration
	}{
		"no sweep yet":                          {own: at, now: at},
		"right":                                 {checkpoint, at.Add(10 * time.Second), at.Add(10 * time.Second), 0, 0},
		"a second behind":                       {checkpoint, at.Add(-time.Second), at, 0, 0},
		"3 min behind":                          {checkpoint, at.Add(-3 * time.Minute), at, 0, 0},
		"over 3 min behind":                     {checkpoint, at.Add(-181 * time.Second), at, 181 * time.Second, 0},
		"an hour behind":                        {checkpoint, at.Add(-time.Hour), at, time.Hour, 0},
		"a year behind":                         {checkpoint, at.AddDate(-1, 0, 0), at, 365 * 24 * time.Hour, 0},
		"3 min after the next":                  {checkpoint, at.Add(4 * time.Minute), at.Add(4 * time.Minute), 0, 0},
		"an hour ahead, or nobody sweeps":       {checkpoint, at.Add(time.Hour), at.Add(time.Hour), 0, 59 * time.Minute},
		"the leader's clock was ahead of EC2's": {ahead, at.Add(time.Hour), at.Add(time.Hour), 0, 0},
		"an older janitor, which names no Witnessed": {
			lease.Checkpoint{Time: at, NextSweep: at.Add(time.Minute)}, at.Add(-time.Hour), at, time.Hour, 0,
		},
		"no next sweep is named": {lease.Checkpoint{Time: at}, at.Add(time.Hour), at.Add(time.Hour), 0, 0},
		"a janitor asleep for the weekend": {
			lease.Checkpoint{Time: at, NextSweep: at.Add(62 * time.Hour)}, at.Add(60 * time.Hour), at.Add(60 * time.Hour), 0, 0,
		},
	} {
		if got, want := c.checkpoint.Reckon(c.own), (lease.Reckoning{Now: c.now, Behind: c.behind, Late: c.late}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
