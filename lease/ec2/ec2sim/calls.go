package ec2sim

import (
	"slices"
	"time"
)

// Call is one call as it was answered.
type Call struct {
	Time        time.Time // EC2's clock when it arrived
	Region      string    // empty if the call had no valid one
	Action      string
	IDs         []string // resources named by the request, or made by it
	ClientToken string
	Status      int    // HTTP status; 0 if the call was never answered
	Code        string // error code; empty if done, or never answered
}

// record notes how a call ends. It is called before the answer is sent, so
// whoever has an answer finds its call in Calls.
func (s *Sim) record(q *request, status int, code string) {
	c := Call{
		Time: q.now, Action: q.action, IDs: q.touched, ClientToken: q.form.Get("ClientToken"),
		Status: status, Code: code,
	}
	if q.region != nil {
		c.Region = q.region.name
	}
	s.config.Logger.Debug("call", "action", c.Action, "region", c.Region, "ids", len(c.IDs), "status", status, "code", code)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// Calls returns all calls so far, in the order in which they were answered.
func (s *Sim) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallCounts returns how often each action was called.
func (s *Sim) CallCounts() map[string]int {
	counts := make(map[string]int)
	for _, c := range s.Calls() {
		counts[c.Action]++
	}
	return counts
}
