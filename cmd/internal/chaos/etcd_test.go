//go:build chaos

package chaos

import (
	"time"
)

// etcdFaults befall members of the cluster, one thing at a time: etcd as a whole goes on, or is away.
func (w *world) etcdFaults() []fault {
	c := w.cluster
	leader := c.leader
	follower := func() int { return c.follower(w.random.IntN(2)) }
	return []fault{
		w.etcdFault("kill etcd members", "kill etcd's leader", 6*time.Second, func() func() { return c.crash(leader()) }),
		w.etcdFault("kill etcd members", "kill an etcd follower", 8*time.Second, func() func() { return c.crash(follower()) }),
		w.etcdFault("stop etcd members", "stop etcd's leader", 10*time.Second, func() func() { return c.freeze(leader()) }),
		w.etcdFault("stop etcd members", "stop an etcd follower", 10*time.Second, func() func() { return c.freeze(follower()) }),
		w.etcdFault("stop etcd members", "stop all of etcd", 3*heartbeatTimeout/2, func() func() { return c.freeze(0, 1, 2) }),
		w.etcdFault("kill etcd members", "kill all of etcd", 4*time.Second, func() func() { return c.crash(0, 1, 2) }),
		w.etcdFault("slow etcd members", "slow etcd leader", 8*time.Second, func() func() { return c.slow(leader()) }),
		w.etcdFault("slow etcd members", "slow etcd follower", 8*time.Second, func() func() { return c.slow(follower()) }),
		w.etcdFault("wipe etcd members", "wipe an etcd member", time.Second, func() func() { return w.wiped(w.random.IntN(members)) }),
		w.etcdFault("bad links between etcd members", "cut off etcd's leader", 8*time.Second, func() func() { return c.apart(leader(), trouble{cut: true}) }),
		w.etcdFault("bad links between etcd members", "cut off an etcd follower", 8*time.Second, func() func() { return c.apart(follower(), trouble{cut: true}) }),
		w.etcdFault("bad links between etcd members", "delayed etcd member", 8*time.Second, func() func() { return c.apart(w.random.IntN(members), trouble{delay: w.lag()}) }),
		w.etcdFault("bad links between etcd members", "half-open etcd member", 8*time.Second, func() func() { return c.apart(w.random.IntN(members), trouble{holdUp: true}) }),
	}
}

// lag is a delay of a link, one way.
func (w *world) lag() time.Duration { return time.Duration(50+w.random.IntN(700)) * time.Millisecond }

// etcdFault is one that takes from every sidecar its certain chance to renew.
func (w *world) etcdFault(family, name string, longest time.Duration, strike func() func()) fault {
	return fault{family: family, name: name, on: "etcd", longest: longest, strike: func() func() {
		end := w.diary.trouble("etcd", name)
		heal := strike()
		return func() {
			heal()
			w.cluster.whole()
			end()
		}
	}}
}

// crash kills members, and starts them again with their data.
func (c *cluster) crash(who ...int) (heal func()) {
	for _, n := range who {
		c.runs[n].kill()
	}
	return func() {
		for _, n := range who {
			c.start(n)
		}
	}
}

// freeze suspends members.
func (c *cluster) freeze(who ...int) (heal func()) {
	for _, n := range who {
		c.runs[n].stop()
	}
	return func() {
		for _, n := range who {
			c.runs[n].resume()
		}
	}
}

// slow suspends a member again and again for most of the time. That stands for a slow disk, which it resembles in what
// others see: everything of it takes long, and nothing fails. It also keeps the member from reading, which a disk would
// not.
func (c *cluster) slow(n int) (heal func()) {
	p, over, done := c.runs[n], make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			p.stop()
			time.Sleep(250 * time.Millisecond)
			p.resume()
			select {
			case <-over:
				return
			case <-time.After(60 * time.Millisecond):
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// apart makes trouble between a member and the others; clients still reach it.
func (c *cluster) apart(n int, t trouble) (heal func()) {
	c.isolate(n, t)
	return func() { c.isolate(n, trouble{}) }
}

// wiped kills a member, and lets an empty one take its location.
func (w *world) wiped(n int) (heal func()) {
	w.cluster.runs[n].kill()
	return func() { w.cluster.wipe(n) }
}
