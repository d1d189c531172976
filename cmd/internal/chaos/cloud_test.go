//go:build chaos

package chaos

import (
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"lapse/lease/ec2/ec2sim"
)

// staleFor is how old EC2's listings can be.
const staleFor = 3 * time.Second

// cloudFaults befall EC2.
func (w *world) cloudFaults() []fault {
	inject := func(f ec2sim.Fault, oneIn int64) func() func() {
		return func() func() {
			var calls atomic.Int64
			only := f.Match
			f.Match = func(form url.Values) bool {
				return (only == nil || only(form)) && calls.Add(1)%oneIn == 0
			}
			return w.sim.Inject(f)
		}
	}
	zone := func() string { return region + []string{"a", "b", "c"}[w.random.IntN(3)] }
	const long = 12 * time.Second
	return []fault{
		{family: "EC2: no capacity", name: "EC2: no capacity in a zone", on: "capacity", longest: long, strike: func() func() {
			at := zone()
			w.sim.SetCapacity(region, at, instanceType, w.random.IntN(2))
			return func() { w.sim.SetCapacity(region, at, instanceType, -1) }
		}},
		{family: "EC2: lost answers", name: "EC2: answers lost before the action", on: "calls", longest: long, strike: inject(ec2sim.Fault{Effect: ec2sim.Drop}, 3)},
		{family: "EC2: lost answers", name: "EC2: answers lost after the action", on: "calls", longest: long, strike: inject(ec2sim.Fault{Stage: ec2sim.AfterDeed, Effect: ec2sim.Drop}, 2)},
		{family: "EC2: internal errors", name: "EC2: internal errors", on: "calls", longest: long, strike: inject(ec2sim.Fault{Effect: ec2sim.Refuse}, 2)},
		{family: "EC2: internal errors", name: "EC2: internal errors after the action", on: "calls", longest: long, strike: inject(ec2sim.Fault{Stage: ec2sim.AfterDeed, Effect: ec2sim.Refuse}, 2)},
		{family: "EC2: throttled", name: "EC2: throttled", on: "calls", longest: long, strike: inject(ec2sim.Fault{Effect: ec2sim.Refuse, Code: "RequestLimitExceeded"}, 2)},
		{family: "EC2: slow", name: "EC2: slow", on: "calls", longest: long, strike: inject(ec2sim.Fault{Hook: func() { time.Sleep(2 * time.Second) }}, 3)},
		{family: "EC2: bad listings", name: "EC2: partial listings", on: "listings", longest: 8 * time.Second, strike: inject(ec2sim.Fault{
			Action: "DescribeInstances", Effect: ec2sim.Refuse, Match: func(form url.Values) bool { return form.Get("NextToken") != "" },
		}, 1)},
		{family: "EC2: bad listings", name: "EC2: stale reads", on: "stale", longest: long, strike: func() func() {
			w.sim.SetStaleFor(staleFor)
			return func() { w.sim.SetStaleFor(0) }
		}},
		{family: "EC2: zone outage", name: "EC2: zone out of reach", on: "outage", longest: 8 * time.Second, strike: func() func() { return w.sim.Outage(region, zone()) }},
		{family: "EC2: protected", name: "EC2: protected instance", on: "protected", longest: long, strike: w.protect},
		{family: "EC2: exempt", name: "EC2: instance made exempt", on: "exempt", longest: time.Second, strike: w.makeExempt},
		{family: "EC2: terminated by others", name: "EC2: instance terminated by others", on: "interrupted", longest: time.Second, strike: func() func() {
			m, ok := choose(w.random, w.fleet.living())
			if !ok {
				return nil
			}
			w.diary.wished(m.id, "interrupted")
			w.sim.SetState(m.id, ec2sim.Terminated)
			return func() {}
		}},
	}
}

// protect turns the protection of an instance on whose term is about to end.
func (w *world) protect() (heal func()) {
	m, ok := choose(w.random, w.lasting())
	if !ok {
		return nil
	}
	w.sim.Protect(m.id, true)
	w.shortly(m)
	return func() { w.sim.Protect(m.id, false) }
}

// makeExempt gives an instance the tag that spares it, and lets its term end.
func (w *world) makeExempt() (heal func()) {
	m, ok := choose(w.random, w.lasting())
	if !ok {
		return nil
	}
	i, _ := w.sim.Instance(m.id)
	if i.State != ec2sim.Running || i.Tags == nil {
		return nil
	}
	i.Tags["lapse:exempt"] = "by hand"
	w.sim.SetTags(m.id, i.Tags)
	w.diary.exempted(m.id)
	w.shortly(m)
	return func() {}
}

// lasting are the instances that have a sidecar, and a lease that nothing ends soon.
func (w *world) lasting() []*machine {
	return slices.DeleteFunc(w.fleet.renewing(), func(m *machine) bool {
		l, ok := w.history.leaseOf(m.id)
		return !ok || l.State != "active" || l.HeartbeatTimeout != heartbeatTimeout.String() || l.ExpiresAt.Before(time.Now().Add(5*time.Minute)) || w.isExempt(m.id)
	})
}

// shortly lets the term of an instance end soon, if nobody extends it.
func (w *world) shortly(m *machine) {
	if w.crowd.enter() {
		go func() {
			defer w.crowd.working.Done()
			m.operated.Lock()
			defer m.operated.Unlock()
			for range 5 {
				if w.crowd.extend(m.id, 6*time.Second, true) {
					return
				}
			}
		}()
	}
}
