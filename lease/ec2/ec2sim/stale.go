package ec2sim

import (
	"maps"
	"slices"
	"time"
)

// A past is what an instance was until a change; nil if it was not there.
type past struct {
	until time.Time
	was   *Instance
}

// SetStaleFor makes DescribeInstances show the world as it was d ago, from now
// on; 0 makes it show what is. Changes made while nothing was stale are never
// shown late, so a Sim whose reads are to go back and forth, as those from
// several replicas do, begins with [Config.StaleFor].
func (s *Sim) SetStaleFor(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staleFor = d
	s.remembers = max(s.remembers, d)
}

// remember keeps what an instance is before it changes as of at, for as long
// as a stale read may want it.
func (s *Sim) remember(i *Instance, at time.Time) {
	if s.remembers == 0 {
		return
	}
	was := *i
	was.Tags, was.past = maps.Clone(i.Tags), nil
	i.past = slices.DeleteFunc(i.past, func(p past) bool { return !at.Add(-s.remembers).Before(p.until) })
	i.past = append(i.past, past{at, &was})
}

// shown returns an instance as DescribeInstances shows it, and whether it does.
func (s *Sim) shown(i *Instance, now time.Time) (*Instance, bool) {
	then := now.Add(-s.staleFor)
	for _, p := range i.past {
		if then.Before(p.until) {
			return p.was, p.was != nil
		}
	}
	return i, true
}
