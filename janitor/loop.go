package janitor

import (
	"errors"
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
