package janitor

import "time"

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
