package janitor

import (
	"context"
	"errors"
	"time"
)

// lead is the leader's one loop. It sweeps at once and on schedule. Between sweeps, and while one looks at EC2, a watch
// keeps the records up to date, and a timer waits for the next date on which the plan changes; both lead to the same
// decision over the last listing. The kill function describes afresh whatever it ends, and each write compares what was
// judged, so a listing that is a minute old can only spare. The sweep remains the source of truth.
//
// Nothing on the loop waits for anything but for it: what reads, writes, calls or may block otherwise runs beside it and
// hands back a function. So the loop turns, and that it does keeps the leadership.
//
// It returns why it ended, and an error if some work has not come back.
func (t *leader) lead(ctx context.Context) (why string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	t.live.lead()
	t.leadership.While(t.live.alive)
	defer func() {
		t.live.leave() // there is no loop any more that could turn, and nothing is given up before what is in flight has ended
		cancel()
		t.unwatch()
		if !t.finish(leaveMax) { // batches in flight are
			err = errors.New("work has not come back " + leaveMax.String() + " after the leadership was left; this process is of no use any more")
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
			t.Log.Warn("office lost", "leader", t.leadership.Name())
			return "office lost", nil
		case <-idle.C:
		case <-next.C:
			if t.table.wait() == 0 {
				t.table.swept() // if one looks now, the next follows
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
