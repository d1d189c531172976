package janitor

import (
	"context"
	"errors"
	"time"
)

// lead is the leader's one loop. It sweeps at once and on schedule. Between sweeps, and while a sweep lists EC2, a watch
// keeps the records up to date, and a timer waits for the next date on which the plan changes. Both lead to the same
// decision over the last listing. The kill function describes every instance again before it terminates it, and each write
// compares what was judged, so a listing that is a minute old can only spare. The sweep remains the source of truth.
//
// Nothing blocks the loop: everything that reads, writes, calls or may block runs beside it and hands back a function. So
// the loop keeps turning, and only a loop that turns keeps the leadership.
//
// lead returns why the leadership ended, and an error if some work did not finish.
func (t *leader) lead(ctx context.Context) (why string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	t.live.lead()
	t.leadership.While(t.live.alive)
	defer func() {
		t.live.leave() // the loop no longer turns, and leadership is not given up before the work in flight has finished
		cancel()
		t.unwatch()
		if !t.finish(leaveMax) { // batches in flight are
			err = errors.New("work in flight did not finish within " + leaveMax.String() + " after leadership ended; restart this process")
		}
	}()
	t.dueNow() // the first is, at once
	next, idle := t.next, time.NewTicker(turnIdle)
	next.Reset(0)
	defer next.Stop()
	defer idle.Stop()
	for {
		if t.sweepDue && !t.sweeping {
			t.begin(ctx, t.swept)
		}
		t.live.turned()
		t.Observe.Turned(turnMax)
		select {
		case <-ctx.Done():
			return "asked to stop", nil
		case <-t.leadership.Lost():
			t.Log.Warn("leadership lost", "leader", t.leadership.Name())
			return "leadership lost", nil
		case <-idle.C:
		case <-next.C:
			if t.table.wait() == 0 {
				t.table.swept() // if a sweep is under way, the next one follows it
				t.dueNow()
			}
			next.Reset(t.table.wait())
		case change, open := <-t.changes:
			t.follow(ctx, change, open)
		case then := <-t.back:
			then()
		case <-t.timer.C:
			t.wakeFor(t.react(ctx).Next)
		}
		if t.deposed > 1 {
			t.Log.Warn("no longer recognised as leader; campaigning again", "leader", t.leadership.Name())
			return "no longer recognised as leader", nil
		}
	}
}
