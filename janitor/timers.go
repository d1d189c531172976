package janitor

import (
	"time"

	"github.com/robfig/cron/v3"
)

const (
	settleMin = 100 * time.Millisecond // the least time for which the changes that a watch brings are collected
	failedFor = time.Minute            // pause before something that failed is tried again, however late the next sweep is
)

// timers say when a leader sweeps and reacts.
type timers struct {
	live     *liveness
	table    timetable
	next     *time.Timer // for the next sweep
	sweepDue bool
	sweeping bool // a sweep is under way

	timer      *time.Timer   // for the next reaction
	due        time.Time     // when it runs out
	again      time.Time     // when what failed is tried again
	publishDue time.Time     // when a reaction is to publish what changed
	took       time.Duration // of the last reaction
	reacted    time.Time     // end of the last reaction
}

func newTimers(r *replica) *timers {
	return &timers{
		live: &r.live, table: timetable{schedule: r.schedule, now: r.Now}, next: time.NewTimer(time.Hour),
		timer: time.NewTimer(time.Hour), due: time.Now().Add(time.Hour),
	}
}

// dueAgain starts a sweep in a minute, however long the schedule pauses: only a new listing tells what is not known now.
func (t *timers) dueAgain() {
	t.table.failed()
	t.next.Reset(t.table.wait())
}

// dueNow starts a sweep as soon as none is under way.
func (t *timers) dueNow() {
	t.sweepDue = true
	t.live.sweepDue()
}

// soon lets the next reaction come as soon as the changes that come together have settled, and the last one is so long
// ago that reactions to changes take half of the time at most. Dates that are known beforehand are met all the same.
func (t *timers) soon() {
	soon := time.Now().Add(settleMin)
	if rested := t.reacted.Add(t.took); rested.After(soon) {
		soon = rested
	}
	if soon.Before(t.due) {
		t.due = soon
		t.timer.Reset(time.Until(soon))
	}
}

// wakeFor lets the next reaction come when time alone changes the plan.
func (t *timers) wakeFor(next time.Time) {
	t.due = time.Now().Add(t.untilNext(next))
	for _, at := range []time.Time{t.again, t.publishDue} {
		if time.Now().Before(at) && at.Before(t.due) {
			t.due = at
		}
	}
	t.timer.Reset(time.Until(t.due))
}

// reactAgain schedules a reaction in a minute, because something failed.
func (t *timers) reactAgain() {
	if t.again = time.Now().Add(failedFor); t.again.Before(t.due) {
		t.due = t.again
		t.timer.Reset(failedFor)
	}
}

// untilNext is the pause until time alone changes the plan; an hour if it will not.
func (t *timers) untilNext(next time.Time) time.Duration {
	if next.IsZero() {
		return time.Hour
	}
	return max(settleMin, min(time.Hour, next.Sub(t.table.now())))
}

// askedAgain is the longest wait before the wall clock is read again.
const askedAgain = time.Minute

// timetable says when the next sweep is due. An interval ("@every 1m") counts from the last sweep by the monotonic clock
// alone. Cron fields name dates, so they are due once the wall clock is past the next; that one is found again each
// minute, so that no step of the clock, either way, delays a sweep beyond its schedule.
type timetable struct {
	schedule cron.Schedule
	now      func() time.Time // the wall clock
	last     time.Time        // when the last sweep began, monotonic
	next     time.Time        // of cron fields, by the wall clock
	again    time.Time        // when a sweep that failed is due again, monotonic; zero: none is
}

// failed notes that a sweep failed, all of it or one location: it is due again in a minute, however long the schedule
// pauses.
func (t *timetable) failed() {
	if t.again.IsZero() {
		t.again = time.Now().Add(askedAgain)
	}
}

// swept notes that a sweep begins.
func (t *timetable) swept() {
	t.last, t.next, t.again = time.Now(), t.schedule.Next(t.now()), time.Time{}
}

// wait is how long the next sweep is not due for; 0: it is. Ask again after that, after a minute at most, and when one has
// failed.
func (t *timetable) wait() time.Duration {
	if t.again.IsZero() {
		return t.scheduled()
	}
	return min(t.scheduled(), max(0, time.Until(t.again)))
}

func (t *timetable) scheduled() time.Duration {
	if every, is := t.schedule.(cron.ConstantDelaySchedule); is {
		return max(0, every.Delay-time.Since(t.last))
	}
	now := t.now()
	if !now.Before(t.next) {
		return 0
	}
	if next := t.schedule.Next(now); next.Before(t.next) {
		t.next = next
	}
	return min(askedAgain, t.next.Sub(now))
}

// pause is how long after now the next sweep is due, if one has just decided. It is a length, not a date: by how much the
// wall clock is wrong, the timetable is, too.
func (t *timetable) pause() time.Duration {
	if every, is := t.schedule.(cron.ConstantDelaySchedule); is {
		return every.Delay
	}
	now := t.now().Round(0)
	return max(0, t.schedule.Next(now).Sub(now))
}
