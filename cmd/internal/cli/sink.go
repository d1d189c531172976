package cli

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	sinkSize  = 1 << 20 // bytes that wait, at most
	flushTime = time.Second
)

// Sink is a writer that never blocks and never fails: lines wait in a bounded buffer until one goroutine has written
// them. So a process cannot hang because the reader of its stderr has stopped.
//
// A line that does not fit is dropped, and so is one whose write fails. The sink writes how many were dropped in their
// place, as soon as it can write again.
type Sink struct {
	out io.Writer

	mu      sync.Mutex
	lost    func(out io.Writer, lines int) error
	grace   time.Duration // for which Write waits until a line is written
	late    bool          // a line was not written within the grace, and some still wait
	news    *sync.Cond
	waiting []sunk
	size    int // bytes of those that wait
	dropped int // lines since the last that was taken
	closed  bool
	done    chan struct{} // closes when everything is written
}

// sunk is one line, or several that were written as one.
type sunk struct {
	line    []byte
	before  int           // lines that were dropped before it
	written chan struct{} // closes when it is, or when it could not be
}

// NewSink returns a sink before out. lost writes to out that lines were dropped.
//
// With a grace, Write waits up to that long until a line is written, so that lines on stderr and stdout stay in order.
// After one wait without success it does not wait again until everything is written.
func NewSink(out io.Writer, grace time.Duration, lost func(out io.Writer, lines int) error) *Sink {
	s := &Sink{out: out, grace: grace, lost: lost, done: make(chan struct{})}
	s.news = sync.NewCond(&s.mu)
	go s.run()
	return s
}

// serve makes it the sink of a process that never waits for a line.
func (s *Sink) serve(lost func(out io.Writer, lines int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grace, s.lost = 0, lost
}

// Write takes all of p, or drops it.
func (s *Sink) Write(p []byte) (int, error) {
	written, grace := s.take(p)
	if grace == 0 {
		return len(p), nil
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
		s.mu.Lock()
		s.late = true
		s.mu.Unlock()
	}
	return len(p), nil
}

// take returns a channel that closes when p is written, and how long to wait for it.
func (s *Sink) take(p []byte) (written chan struct{}, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0
	}
	if s.size+len(p) > sinkSize {
		s.dropped += lines(p)
		return nil, 0
	}
	written, grace = make(chan struct{}), s.grace
	s.waiting = append(s.waiting, sunk{bytes.Clone(p), s.dropped, written})
	s.size, s.dropped = s.size+len(p), 0
	s.news.Signal()
	if s.late {
		return nil, 0
	}
	return written, grace
}

// Close returns when everything is written, or after a second.
func (s *Sink) Close() {
	s.mu.Lock()
	s.closed = true
	s.news.Signal()
	s.mu.Unlock()
	timer := time.NewTimer(flushTime)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}

// run writes what waits, one line after the other, until the sink is closed.
func (s *Sink) run() {
	defer close(s.done)
	lost := 0
	for next, more := s.next(); more; next, more = s.next() {
		lost = s.write(next, lost+next.before)
		if next.written != nil {
			close(next.written)
		}
	}
}

// write writes the next line, and before it how many lines were dropped; it returns how many are dropped now.
func (s *Sink) write(next sunk, lost int) int {
	if lost > 0 {
		s.mu.Lock()
		say := s.lost
		s.mu.Unlock()
		if say(s.out, lost) != nil {
			return lost + lines(next.line)
		}
	}
	if _, err := s.out.Write(next.line); err != nil {
		return lines(next.line)
	}
	return 0
}

// next waits for something to write; false once the sink is closed and empty.
func (s *Sink) next() (sunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) == 0 && s.dropped == 0 && !s.closed {
		s.late = false
		s.news.Wait()
	}
	switch {
	case len(s.waiting) > 0:
		first := s.waiting[0]
		s.waiting[0] = sunk{}
		s.waiting, s.size = s.waiting[1:], s.size-len(first.line)
		return first, true
	case s.dropped > 0:
		only := sunk{before: s.dropped}
		s.dropped = 0
		return only, true
	}
	return sunk{}, false
}

func lines(p []byte) int { return bytes.Count(p, []byte("\n")) }

// notices is how many words to the service manager wait while it takes none.
const notices = 16

// Notifier returns what tells the service manager how the process does, as sd_notify(3) does; nobody is told where there is
// none. It never waits: what has no room while the manager takes nothing is dropped.
func Notifier() func(state string) {
	states := make(chan string, notices)
	go func() {
		for state := range states {
			_, _ = daemon.SdNotify(false, state)
		}
	}()
	return func(state string) {
		select {
		case states <- state:
		default:
		}
	}
}
