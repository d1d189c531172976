package janitor

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// loop is what a leader's goroutine and all that runs beside it have in common: reads, writes, and plans being carried out
// share nothing with it, and each hands back a function that the loop calls.
type loop struct {
	back chan func()
	out  int           // what has not come back
	gone chan struct{} // closes when nobody waits for the work any longer
}

func newLoop() *loop { return &loop{back: make(chan func()), gone: make(chan struct{})} }

// do runs work in a goroutine of its own. What it returns is called when it has come back.
func (b *loop) do(work func() (then func())) {
	b.out++
	go func() {
		then := work()
		select {
		case b.back <- func() {
			b.out--
			then()
		}:
		case <-b.gone:
		}
	}()
}

// onLoop runs f on the loop, and returns what it did. It fails if nobody waits for it any longer.
func (b *loop) onLoop(f func() error) (err error) {
	done := make(chan struct{})
	select {
	case b.back <- func() {
		defer close(done)
		err = f()
	}:
		<-done
		return err
	case <-b.gone:
		return errors.New("the work was abandoned")
	}
}

// finish waits until all have come back, those included that they started, and reports whether they did in time.
func (b *loop) finish(within time.Duration) bool {
	patience := time.NewTimer(within)
	defer patience.Stop()
	for b.out > 0 {
		select {
		case then := <-b.back:
			then()
		case <-patience.C:
			close(b.gone)
			return false
		}
	}
	return true
}

// Bounds of a leader that works. They are constants: an office-hours schedule has gaps of 60 h, and none of these grows with
// them.
const (
	turnMax  = time.Minute      // between two turns of the loop
	sweepMax = 7 * time.Minute  // from when a sweep is due to its end, well or badly
	workLate = time.Minute      // for which a worker may go on after its deadline
	leaveMax = 2 * time.Minute  // for which leaving leadership waits for workers
	turnIdle = 10 * time.Second // after which the loop turns though nothing happens
)

// liveness is whether a leader works, as its own loop shows. Whoever feeds its session and the service manager asks here:
// a loop that hangs is not kept in the lead by a goroutine that does not. All times are monotonic.
type liveness struct {
	mu    sync.Mutex
	leads bool
	turn  time.Time   // of the loop, the last
	due   time.Time   // since when a sweep is due that has not ended; zero: none is
	next  time.Time   // since when the one after it is due, too
	work  []*deadline // of what workers do
}

type deadline struct {
	what string
	at   time.Time
}

// lead begins a leadership, and leave ends it: a janitor that does not lead has no loop, and nothing to prove.
func (l *liveness) lead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leads, l.turn, l.due, l.next, l.work = true, time.Now(), time.Time{}, time.Time{}, nil
}

func (l *liveness) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leads = false
}

// turned notes that the loop goes round.
func (l *liveness) turned() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn = time.Now()
}

// sweepDue notes that a sweep is due, or another after the one that is.
func (l *liveness) sweepDue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.due.IsZero():
		l.due = time.Now()
	case l.next.IsZero():
		l.next = time.Now()
	}
}

// swept notes that the sweep that was due has ended, and whether another is due: sweeps that each take longer than their
// interval do end.
func (l *liveness) swept(another bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due, l.next = l.next, time.Time{}
	if !another {
		l.due = time.Time{}
	}
}

// works notes that a worker has begun something that ends within so long, until done is called.
func (l *liveness) works(what string, within time.Duration) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := &deadline{what, time.Now().Add(within)}
	l.work = append(l.work, d)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.work = slices.DeleteFunc(l.work, func(o *deadline) bool { return o == d })
	}
}

// alive says why the leader does not work, or is nil.
func (l *liveness) alive() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leads {
		return nil
	}
	now := time.Now()
	if late := now.Sub(l.turn); late > turnMax {
		return fmt.Errorf("the loop has not turned for %s", late.Round(time.Second))
	}
	if late := now.Sub(l.due); !l.due.IsZero() && late > sweepMax {
		return fmt.Errorf("the sweep that was due %s ago has not ended", late.Round(time.Second))
	}
	for _, d := range l.work {
		if late := now.Sub(d.at); late > workLate {
			return fmt.Errorf("%s should have ended %s ago", d.what, late.Round(time.Second))
		}
	}
	return nil
}
