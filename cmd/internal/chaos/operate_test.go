//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// operate lets an operator do something to a lease again and again.
func (c *crowd) operate(ctx context.Context, number uint64) {
	random := c.w.stream(100 + number)
	var turns []int
	for ctx.Err() == nil {
		pause(ctx, time.Duration(300+random.IntN(600))*time.Millisecond)
		if len(turns) == 0 {
			turns = random.Perm(20)
		}
		m, ok := choose(random, c.w.fleet.living())
		if !ok || !c.enter() {
			continue
		}
		if _, exempt := c.w.diary.exemptSince(m.id); !exempt {
			c.once(m, turns[0], random)
			turns = turns[1:]
		}
		c.working.Done()
	}
}

// once does one thing to the lease of an instance, while nobody else changes that lease.
func (c *crowd) once(m *machine, what int, random *rand.Rand) {
	if !m.operated.TryLock() {
		return
	}
	defer m.operated.Unlock()
	switch {
	case what < 7:
		c.extend(m.id, time.Duration(20+random.IntN(600))*time.Second, false)
	case what < 9:
		c.extend(m.id, time.Duration(6+random.IntN(12))*time.Second, true)
	case what < 13:
		c.tell("unmark", m.id)
	case what < 14:
		c.tell("release", m.id, "--yes")
	case what < 15:
		c.tell("revoke", m.id, "--yes")
	default:
		c.extendInside(m, time.Duration(20+random.IntN(600))*time.Second)
	}
}

// tell does something that moves no date.
func (c *crowd) tell(verb, id string, args ...string) {
	c.w.diary.wished(id, verb)
	p, err := c.work(id, nil, "lease", append([]string{verb, id, "-o", "json"}, args...)...)
	if err == nil && p.code() == 0 {
		c.w.tally.add("operators: "+verb, 1)
	}
}

// moved is what an extension printed.
type moved struct {
	Granted time.Time `json:"granted"`
	Lease   struct {
		Revision int64 `json:"revision"`
	} `json:"lease"`
}

// extend moves the term of a lease, notes what was acknowledged, and reports whether it was.
func (c *crowd) extend(id string, by time.Duration, shorten bool) bool {
	args := []string{"extend", id, "--for", by.String(), "-o", "json"}
	if shorten {
		c.w.diary.wished(id, "shorten")
		args = append(args, "--allow-shorten")
	}
	g := grant{id: id, asked: time.Now(), epoch: c.w.history.number(), shorten: shorten}
	p, err := c.work(id, nil, "lease", args...)
	if err != nil || p.code() != 0 {
		return false
	}
	var answers []moved
	if err := json.Unmarshal(p.out.Bytes(), &answers); err != nil || len(answers) != 1 {
		c.w.t.Errorf("lease extend %s printed %q: %v", id, p.out.String(), err)
		return false
	}
	c.grant(g, answers[0].Granted, answers[0].Lease.Revision)
	return true
}

// extendInside does the same on the machine, through its sidecar.
func (c *crowd) extendInside(m *machine, by time.Duration) {
	if !m.heartbeats() {
		return
	}
	g := grant{id: m.id, asked: time.Now(), epoch: c.w.history.number()}
	p, err := c.work(m.id, nil, "sidecar-direct", "extend", "--socket", m.socket, "--for", fmt.Sprint(by), "-o", "json")
	if err != nil || p.code() != 0 {
		return
	}
	var answer moved
	if err := json.Unmarshal(p.out.Bytes(), &answer); err != nil {
		c.w.t.Errorf("sidecar extend of %s printed %q: %v", m.id, p.out.String(), err)
		return
	}
	c.grant(g, answer.Granted, answer.Lease.Revision)
}

func (c *crowd) grant(g grant, until time.Time, revision int64) {
	g.until, g.revision = until, revision
	c.w.diary.granted(g)
	c.w.tally.add("extensions acknowledged", 1)
}
