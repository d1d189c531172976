package cli

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	sinkSize  = 1 << 20 // bytes that wait, at most
	flushTime = time.Second
)

// Sink is a writer that never waits and never fails: lines wait in a bounded buffer until one goroutine has written
// them. What a process must do in time cannot hang in a log line then, if whoever reads its stderr has stopped.
//
// A line for which there is no room is dropped, and so is one whose write fails. How many were is said in their place, as
// soon as the rest flows again.
type Sink struct {
	out  io.Writer
	lost func(out io.Writer, lines int) error

	mu      sync.Mutex
	news    *sync.Cond
	waiting []sunk
	size    int // bytes of those that wait
	dropped int // lines since the last that was taken
	closed  bool
	done    chan struct{} // closes when everything is written
}

// sunk is one line, or several that were written as one.
type sunk struct {
	line   []byte
	before int // lines that were dropped before it
}

// NewSink returns a sink before out. lost says to out that lines were dropped.
func NewSink(out io.Writer, lost func(out io.Writer, lines int) error) *Sink {
	s := &Sink{out: out, lost: lost, done: make(chan struct{})}
	s.news = sync.NewCond(&s.mu)
	go s.run()
	return s
}

// Write takes all of p or drops it.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	if s.size+len(p) > sinkSize {
		s.dropped += lines(p)
		return len(p), nil
	}
	s.waiting = append(s.waiting, sunk{bytes.Clone(p), s.dropped})
	s.size, s.dropped = s.size+len(p), 0
	s.news.Signal()
	return len(p), nil
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
		if lost += next.before; lost > 0 {
			if s.lost(s.out, lost) != nil {
				lost += lines(next.line)
				continue
			}
			lost = 0
		}
		if _, err := s.out.Write(next.line); err != nil {
			lost = lines(next.line)
		}
	}
}

// next waits for something to write; false once the sink is closed and empty.
func (s *Sink) next() (sunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) == 0 && s.dropped == 0 && !s.closed {
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
