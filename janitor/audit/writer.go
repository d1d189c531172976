package audit

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the audit log's writer.
const (
	recordMax = 5 * time.Second // for which whoever must not act unrecorded waits for a record
	queueMax  = 100_000         // events that wait to be written; what comes then is lost, and said
)

// Writer writes events to the audit log, in the order in which they come, in a goroutine of its own: a log that hangs (a
// full disk, a pipe that nobody reads) holds up nothing but what must not happen without a record. A nil Writer is that of
// a janitor without an audit log: it writes nothing, and nothing of it is lost.
type Writer struct {
	write func(Event) error
	lost  func(Event, error) // is told what was not written, or not in time
	found func()             // is told once events are written again

	mu      sync.Mutex
	queue   []*note
	dropped int           // since the writer last took one from the queue
	down    bool          // the last that was told of was lost
	wake    chan struct{} // something waits
	closed  chan struct{} // nothing more is to come
	done    chan struct{} // the writer has ended
}

// note is an event on its way to the log.
type note struct {
	event   Event
	answer  chan error  // nil if nobody waits
	dropped atomic.Bool // whoever waited has given up, and acts as if it was not written
}

// errSlow is what comes of a record that is not written in time.
func errSlow() error { return errors.New("the audit log does not answer within " + recordMax.String()) }

// NewWriter writes with write until it is closed. lost is told each event that was not written, or not in time, and why;
// found is told once events are written again.
func NewWriter(write func(Event) error, lost func(Event, error), found func()) *Writer {
	w := &Writer{write: write, lost: lost, found: found, wake: make(chan struct{}, 1), closed: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// Post has an event written some time, and waits for nothing.
func (w *Writer) Post(e Event) {
	if w != nil {
		w.add(&note{event: e.Complete()})
	}
}

// Record returns nil once an event is written. It waits for 5 s at most.
func (w *Writer) Record(e Event) error {
	if w == nil {
		return nil
	}
	n := &note{event: e.Complete(), answer: make(chan error, 1)}
	if !w.add(n) {
		return errSlow()
	}
	select {
	case err := <-n.answer:
		return err
	case <-time.After(recordMax):
		n.dropped.Store(true)
		w.lose(e, errSlow())
		return errSlow()
	}
}

func (w *Writer) add(n *note) bool {
	w.mu.Lock()
	full := len(w.queue) >= queueMax
	if full {
		w.dropped++
	} else {
		w.queue = append(w.queue, n)
	}
	w.mu.Unlock()
	if full {
		return false
	}
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

func (w *Writer) run() {
	defer close(w.done)
	for {
		notes, dropped := w.take()
		if dropped > 0 {
			w.lose(Event{}, fmt.Errorf("%d events were dropped: the audit log is too slow", dropped))
		}
		for _, n := range notes {
			w.put(n)
		}
		if len(notes) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-w.closed:
			if w.empty() {
				return
			}
		}
	}
}

// take empties the queue.
func (w *Writer) take() ([]*note, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	notes, dropped := w.queue, w.dropped
	w.queue, w.dropped = nil, 0
	return notes, dropped
}

func (w *Writer) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)+w.dropped == 0
}

// put writes one event, unless whoever waited for it has given up.
func (w *Writer) put(n *note) {
	if n.dropped.Load() {
		return
	}
	if n.answer == nil { // so nobody else says that it takes too long
		slow := time.AfterFunc(recordMax, func() { w.lose(n.event, errSlow()) })
		defer slow.Stop()
	}
	err := w.write(n.event)
	if n.answer != nil {
		n.answer <- err
	}
	switch {
	case err == nil:
		w.find()
	case !n.dropped.Load():
		w.lose(n.event, err)
	}
}

// lose tells that an event was not written, or not in time.
func (w *Writer) lose(e Event, err error) {
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	w.lost(e, err)
}

// find tells that events are written again, if they were not before.
func (w *Writer) find() {
	w.mu.Lock()
	again := w.down
	w.down = false
	w.mu.Unlock()
	if again {
		w.found()
	}
}

// Down reports whether what was to be written last was lost.
func (w *Writer) Down() bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

// Close lets what waits be written, for 5 s at most.
func (w *Writer) Close() {
	close(w.closed)
	select {
	case <-w.done:
	case <-time.After(recordMax):
	}
}
