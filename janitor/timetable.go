package janitor

import (
	"time"

	"github.com/robfig/cron/v3"
)

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
