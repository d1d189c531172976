package janitor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

// TestNoClockStepDelaysASweep lets the wall clock be wrong for an hour, and right again.
func TestNoClockStepDelaysASweep(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for schedule, longest := range map[string]time.Duration{
		"@every 1m": time.Minute, "*/5 * * * *": 7 * time.Minute, "0 * * * *": 62 * time.Minute,
	} {
		for name, step := range map[string]time.Duration{
			"none": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour, "a year ahead": year, "a year behind": -year,
			"ten years ahead": 10 * year, "a minute behind": -time.Minute,
		} {
			t.Run(schedule+"/"+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var ahead time.Duration
					table := timetable{schedule: parsed(t, schedule), now: func() time.Time { return time.Now().Round(0).Add(ahead) }}
					table.swept()
					begun, last := time.Now(), time.Now()
					for time.Since(begun) < 6*time.Hour {
						ahead = 0
						if at := time.Since(begun); at > 90*time.Second && at < 2*time.Hour {
							ahead = step
						}
						if wait := table.wait(); wait > 0 {
							time.Sleep(wait)
						}
						if table.wait() == 0 {
							last = time.Now()
							table.swept()
						}
						if late := time.Since(last); late > longest {
							t.Fatalf("no sweep for %s, %s after the start", late, time.Since(begun))
						}
					}
				})
			})
		}
	}
}

func TestAnOfficeHoursScheduleHasItsPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := timetable{schedule: parsed(t, "0 8-18 * * 1-5"), now: time.Now}
		table.swept()
		n := 0
		for begun := time.Now(); time.Since(begun) < 7*24*time.Hour; {
			time.Sleep(max(table.wait(), time.Second))
			if table.wait() == 0 {
				n++
				table.swept()
			}
		}
		if n != 55 {
			t.Errorf("%d sweeps in a week, want 5 days of 11", n)
		}
	})
}

func parsed(t *testing.T, schedule string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(schedule)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestALeaderSweepsOnWhileItsClockIsSet has the whole janitor, whose clock jumps to and fro.
func TestALeaderSweepsOnWhileItsClockIsSet(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"an hour ahead": time.Hour, "a year behind": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				var clock stepping
				j := r.janitorOf(quiet())
				j.Now = clock.now
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- j.Run(ctx) }()
				after(time.Second)
				for _, ahead := range []time.Duration{step, 0, step, 0} {
					clock.ahead.Store(int64(ahead))
					r.cloud.Mu.Lock()
					r.cloud.Skew = ahead
					r.cloud.Mu.Unlock()
					before := r.sequence()
					after(5 * time.Minute)
					if n := r.sequence() - before; n < 4 || n > 6 {
						t.Errorf("%d sweeps in five minutes with the clock %s ahead, want five", n, ahead)
					}
				}
				if got := r.cloud.Ended(); len(got) > 0 {
					t.Errorf("terminated %v", got)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
