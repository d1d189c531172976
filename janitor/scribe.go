package janitor

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

// scribe writes events to the audit log, in the order in which they come, in a goroutine of its own: a log that hangs (a
// full disk, a pipe that nobody reads) holds up nothing but what must not happen without a record.
type scribe struct {
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

func newScribe(write func(Event) error, lost func(Event, error), found func()) *scribe {
	s := &scribe{write: write, lost: lost, found: found, wake: make(chan struct{}, 1), closed: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// post has an event written some time, and waits for nothing.
func (s *scribe) post(e Event) { s.add(&note{event: e}) }

// record returns nil once an event is written. It waits for 5 s at most.
func (s *scribe) record(e Event) error {
	n := &note{event: e, answer: make(chan error, 1)}
	if !s.add(n) {
		return errSlow()
	}
	patience := time.NewTimer(recordMax)
	defer patience.Stop()
	select {
	case err := <-n.answer:
		return err
	case <-patience.C:
		n.dropped.Store(true)
		s.lose(e, errSlow())
		return errSlow()
	}
}

func (s *scribe) add(n *note) bool {
	s.mu.Lock()
	full := len(s.queue) >= queueMax
	if full {
		s.dropped++
	} else {
		s.queue = append(s.queue, n)
	}
	s.mu.Unlock()
	if full {
		return false
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

func (s *scribe) run() {
	defer close(s.done)
	for {
		notes, dropped := s.take()
		if dropped > 0 {
			s.lose(Event{}, fmt.Errorf("%d events were dropped: the audit log is too slow", dropped))
		}
		for _, n := range notes {
			s.put(n)
		}
		if len(notes) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-s.closed:
			if s.empty() {
				return
			}
		}
	}
}

// take empties the queue.
func (s *scribe) take() ([]*note, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	notes, dropped := s.queue, s.dropped
	s.queue, s.dropped = nil, 0
	return notes, dropped
}

func (s *scribe) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)+s.dropped == 0
}

// put writes one event, unless nothing came of it for want of patience.
func (s *scribe) put(n *note) {
	if n.dropped.Load() {
		return
	}
	if n.answer == nil { // so nobody else says that it takes too long
		slow := time.AfterFunc(recordMax, func() { s.lose(n.event, errSlow()) })
		defer slow.Stop()
	}
	err := s.write(n.event)
	if n.answer != nil {
		n.answer <- err
	}
	switch {
	case err == nil:
		s.find()
	case !n.dropped.Load():
		s.lose(n.event, err)
	}
}

// lose tells that an event was not written, or not in time.
func (s *scribe) lose(e Event, err error) {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.lost(e, err)
}

// find tells that events are written again, if they were not before.
func (s *scribe) find() {
	s.mu.Lock()
	again := s.down
	s.down = false
	s.mu.Unlock()
	if again {
		s.found()
	}
}

// isDown reports whether what was to be written last was lost. Nobody's log is never down.
func (s *scribe) isDown() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// close lets what waits be written, for 5 s at most.
func (s *scribe) close() {
	close(s.closed)
	select {
	case <-s.done:
	case <-time.After(recordMax):
	}
}
