package janitor

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lapse/lease"
)

// officeHours are schedules that sweep only while people work.
const (
	hourly  = "0 8-18 * * 1-5"
	closely = "*/5 8-19 * * 1-5"
)

// at is a time of a weekday. The clock of a bubble starts on the Saturday before; Sunday + 7 is the one after.
func at(day time.Weekday, hour, minute int) time.Time {
	return time.Date(2000, 1, 2+int(day), hour, minute, 0, 0, time.UTC)
}

// works lets janitors of a schedule work from one time to another, with what this directory remembers.
func works(t *testing.T, r *rig, schedule, dir string, from, to time.Time) {
	t.Helper()
	after(time.Until(from))
	inTurn(t, r, dir, func() { after(time.Until(to)) }, onSchedule(t, schedule))
}

func onSchedule(t *testing.T, schedule string) func(*Janitor) {
	t.Helper()
	return func(j *Janitor) {
		j.Now = func() time.Time { return time.Now().UTC() }
		j.schedule = parsed(t, schedule)
	}
}

// TestALeaderLeadsThroughTheWeekend has one whose next sweep is 62 h away, and which is well all the time.
func TestALeaderLeadsThroughTheWeekend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "i-1", "i-2")
		for _, id := range []string{"i-1", "i-2"} {
			r.update(id, func(l lease.Lease) (lease.Lease, error) { l.HeartbeatTimeout = 0; return l, nil })
		}
		sunday := at(time.Sunday+7, 12, 0)
		r.extend("i-1", time.Until(sunday))
		r.extend("i-2", time.Until(at(time.Monday+7, 8, 30)))
		after(time.Until(at(time.Friday, 17, 30)))
		inTurn(t, r, t.TempDir(), func() {
			well := func(when string, sequence int64) {
				t.Helper()
				s, err := r.store.Checkpoint(t.Context())
				if err != nil || s.Sequence != sequence || len(s.Brakes)+len(s.Standing) > 0 || !s.Fresh(time.Now()) {
					t.Errorf("%s: sweep %d, fresh %t, brakes %v %v (%v); want number %d, fresh", when, s.Sequence, s.Fresh(time.Now()), s.Brakes, s.Standing, err, sequence)
				}
			}
			after(31 * time.Minute)
			well("on Friday at 18:01", 2)
			after(time.Until(sunday.Add(-time.Minute)))
			well("on Sunday at 11:59", 2)
			if got := r.cloud.Ended(); len(got) > 0 {
				t.Errorf("terminated %v before any date", got)
			}
			after(2 * time.Minute)
			if got := r.cloud.Ended(); !slices.Equal(got, []string{"i-1"}) {
				t.Errorf("terminated %v on Sunday at noon, want i-1, whose date that was", got)
			}
			after(time.Until(at(time.Monday+7, 7, 59)))
			well("on Monday at 7:59", 2)
			after(2 * time.Minute)
			well("on Monday at 8:01", 3)
			after(30 * time.Minute)
			if got, l := r.cloud.Ended(), r.lease("i-2"); !slices.Equal(got, []string{"i-1", "i-2"}) || l.Mark != nil {
				t.Errorf("terminated %v on Monday at 8:31 (mark %v), want i-2 too, without a notice: nothing was held", got, l.Mark)
			}
		}, onSchedule(t, hourly))
	})
}

// TestACheckpointIsTrustedUntilTheNextSweepIsLate whatever the widest pause of its schedule is.
func TestACheckpointIsTrustedUntilTheNextSweepIsLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schedule       string
		from, to, late time.Time
	}{
		"on a working day":          {hourly, at(time.Tuesday, 9, 30), at(time.Tuesday, 10, 30), at(time.Tuesday, 11, 0)},
		"over a night":              {hourly, at(time.Tuesday, 9, 30), at(time.Tuesday, 18, 30), at(time.Wednesday, 8, 0)},
		"over a weekend":            {hourly, at(time.Friday, 9, 30), at(time.Saturday, 3, 0), at(time.Monday+7, 8, 0)},
		"closely, on a working day": {closely, at(time.Tuesday, 9, 30), at(time.Tuesday, 10, 2), at(time.Tuesday, 10, 5)},
		"closely, over a night":     {closely, at(time.Tuesday, 9, 30), at(time.Tuesday, 20, 30), at(time.Wednesday, 8, 0)},
		"closely, over a weekend":   {closely, at(time.Friday, 9, 30), at(time.Saturday, 3, 0), at(time.Monday+7, 8, 0)},
		"each minute":               {"@every 1m", at(time.Tuesday, 9, 30), at(time.Tuesday, 9, 40).Add(time.Second), at(time.Tuesday, 9, 41)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				works(t, r, c.schedule, "", c.from, c.to)
				s, err := r.store.Checkpoint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if in, over := c.late.Add(3*time.Minute), c.late.Add(3*time.Minute+time.Second); !s.Fresh(c.to) || !s.Fresh(in) || s.Fresh(over) {
					t.Errorf("fresh %t at the end, %t until %s, %t after that", s.Fresh(c.to), s.Fresh(in), in, s.Fresh(over))
				}
			})
		})
	}
}

// TestAnotherLeaderAfterAPauseOfTheSchedule trusts the registry only if nobody should have swept before.
func TestAnotherLeaderAfterAPauseOfTheSchedule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schedule         string
		from, to, again  time.Time
		forgets, remains bool // whether the brake stands, of one without a memory, and of one with it
	}{
		"in the morning":                  {closely, at(time.Tuesday, 9, 0), at(time.Tuesday, 20, 30), at(time.Wednesday, 7, 30), false, false},
		"in the morning, a little late":   {closely, at(time.Tuesday, 9, 0), at(time.Tuesday, 20, 30), at(time.Wednesday, 8, 2), false, false},
		"in the morning, too late":        {closely, at(time.Tuesday, 9, 0), at(time.Tuesday, 20, 30), at(time.Wednesday, 8, 10), true, true},
		"after half an hour of work lost": {closely, at(time.Tuesday, 9, 0), at(time.Tuesday, 10, 1), at(time.Tuesday, 10, 30), true, false},
		"after two hours of work lost":    {closely, at(time.Tuesday, 9, 0), at(time.Tuesday, 10, 1), at(time.Tuesday, 12, 0), true, true},
		"after the weekend":               {hourly, at(time.Friday, 9, 0), at(time.Saturday, 3, 0), at(time.Monday+7, 7, 50), false, false},
		"after the weekend, too late":     {hourly, at(time.Friday, 9, 0), at(time.Saturday, 3, 0), at(time.Monday+7, 8, 10), true, true},
		"within an hour's pause":          {hourly, at(time.Friday, 9, 0), at(time.Friday, 10, 5), at(time.Friday, 11, 2), false, false},
		"after an hour's pause and more":  {hourly, at(time.Friday, 9, 0), at(time.Friday, 10, 5), at(time.Friday, 11, 10), true, true},
	} {
		for memory, stands := range map[bool]bool{false: c.forgets, true: c.remains} {
			t.Run(name+map[bool]string{false: "/without a memory", true: "/with a memory"}[memory], func(t *testing.T) {
				t.Parallel()
				dir, next := t.TempDir(), t.TempDir()
				if memory {
					next = dir
				}
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, "i-1")
					works(t, r, c.schedule, dir, c.from, c.to)
					works(t, r, c.schedule, next, c.again, c.again.Add(10*time.Minute))
					s, err := r.store.Checkpoint(t.Context())
					if held := slices.ContainsFunc(s.Standing, func(b lease.Brake) bool { return b.Name == lease.BrakeUnwatched }); err != nil || held != stands {
						t.Errorf("%v engaged (%v), want unwatched: %t", s.Standing, err, stands)
					}
				})
			})
		}
	}
}

// TestAReplicaLooksAtTheCheckpointsAllNight: it looks as often as ever, however long the schedule pauses.
func TestAReplicaLooksAtTheCheckpointsAllNight(t *testing.T) {
	t.Parallel()
	for _, schedule := range []string{hourly, closely, "@every 1m", "@every 24h"} {
		t.Run(schedule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j, looks := newRig(t, "i-1").janitorOf(quiet()), 0
				j.schedule = parsed(t, schedule)
				j.LastCheckpoint = func(context.Context) (lease.Registry, lease.Checkpoint, error) {
					looks++
					return lease.Registry{UUID: "u"}, lease.Checkpoint{}, nil
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); j.follow(ctx) }()
				after(24 * time.Hour)
				stop()
				<-done
				if looks < 24*60 || looks > 25*60 {
					t.Errorf("%d reads in a day, want one a minute", looks)
				}
			})
		})
	}
}

// TestTheNextSweepIsDatedByTheClockThatIsRight: the timetable of a janitor is as wrong as its clock.
func TestTheNextSweepIsDatedByTheClockThatIsRight(t *testing.T) {
	t.Parallel()
	start := at(time.Tuesday, 9, 30)
	for name, c := range map[string]struct {
		schedule string
		ahead    time.Duration
		want     time.Time
	}{
		"a clock that is right":               {hourly, 0, at(time.Tuesday, 10, 0)},
		"one 20 minutes behind":               {hourly, -20 * time.Minute, at(time.Tuesday, 10, 20)},
		"one 20 minutes ahead":                {hourly, 20 * time.Minute, at(time.Tuesday, 9, 40)},
		"one four days ahead, on a Saturday":  {hourly, 96 * time.Hour, start.Add(46*time.Hour + 30*time.Minute)},
		"one an hour behind, each minute":     {"@every 1m", -time.Hour, at(time.Tuesday, 9, 31)},
		"one a year ahead, each five minutes": {"@every 5m", 365 * 24 * time.Hour, at(time.Tuesday, 9, 35)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "i-1")
				after(time.Until(start))
				r.cloud.Skew = c.ahead
				inTurn(t, r, "", func() { after(time.Second) }, onSchedule(t, c.schedule), func(j *Janitor) {
					j.Now = func() time.Time { return time.Now().UTC().Add(c.ahead) }
				})
				s, err := r.store.Checkpoint(t.Context())
				if err != nil || s.Time.Sub(start).Abs() > time.Second || s.NextSweep.Sub(c.want).Abs() > time.Second {
					t.Errorf("checkpoint of %s, the next due %s (%v), want %s and %s", s.Time, s.NextSweep, err, start, c.want)
				}
			})
		})
	}
}
