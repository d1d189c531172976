package sim

import (
	"maps"
	"slices"
	"time"

	"lapse/lease/etcd/etcdsim"
)

func (t *truth) takeElection(e event, c etcdsim.Change) {
	defer func() {
		name := t.leader()
		if t.elected[name].IsZero() {
			t.elected[name] = t.now
		}
		if n := len(t.elections); n == 0 || t.elections[n-1].what != name {
			t.elections = append(t.elections, since[string]{t.now, name})
		}
	}()
	if c.Value == nil {
		delete(t.election, c.Key)
		t.unsure = t.unsure && len(t.election) > 0
		return
	}
	if e.who == "" { // restored: of several keys it is not known which is older
		t.unsure = true
	}
	if c.Before == nil || e.who == "" {
		t.election[c.Key] = candidate{string(c.Value), e.commit.Revision}
	}
}

// leader is whoever was elected, as etcd has it.
func (t *truth) leader() string {
	var first candidate
	for _, key := range slices.Sorted(maps.Keys(t.election)) {
		if c := t.election[key]; first.name == "" || c.created < first.created {
			first = c
		}
	}
	return first.name
}

// led reports whether somebody was the leader at some time between.
func (t *truth) led(who string, from, until time.Time) bool {
	for n, l := range t.elections {
		over := n+1 < len(t.elections) && t.elections[n+1].at.Before(from)
		if l.what == who && !over && !l.at.After(until) {
			return true
		}
	}
	return t.unsure
}
