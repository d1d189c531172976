package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lapse/lease"
	"lapse/lease/api"
)

// joining draws how the instances of a launch enrol, and how far they may extend themselves.
func (w *world) joining(q request) request {
	if w.shape.calls.share == 0 {
		return q
	}
	r := w.dice.stream("how " + q.Token + " joins")
	q.NoJoin = oneIn(r, 5)
	if limit := lease.Duration(pick(r, 0, 5*time.Minute, 20*time.Minute)); oneIn(r, 2) {
		q.SelfExtend = &limit
	}
	return q
}

func apiFaults() []fault {
	some := func(do func(*world, *rand.Rand, *replica, *process) time.Duration) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			h := w.front.replicas[r.IntN(len(w.front.replicas))]
			if p, _ := h.serving(); p != nil {
				return do(w, r, h, p), true
			}
			return 0, false
		}
	}
	caller := func(do func(*world, *rand.Rand, *machine, *process)) func(*world, *rand.Rand) (time.Duration, bool) {
		return func(w *world, r *rand.Rand) (time.Duration, bool) {
			return 0, w.fleet.change(r, w.calls, func(m *machine) { do(w, r, m, m.sidecar) })
		}
	}
	return []fault{
		{"API replica killed", 4, some(func(_ *world, _ *rand.Rand, _ *replica, p *process) time.Duration { p.kill(); return 0 })},
		{"API replica stopped", 2, some(func(_ *world, r *rand.Rand, _ *replica, p *process) time.Duration {
			d := pick(r, between(r, 2*time.Second, 30*time.Second), between(r, 30*time.Second, 10*time.Minute))
			p.stop(d)
			return d
		})},
		{apiClockSteps, 3, some(func(_ *world, r *rand.Rand, h *replica, _ *process) time.Duration {
			d := between(r, time.Minute, 12*time.Minute)
			h.clock.set(pick[time.Duration](r, -1, 1)*pick(r, 15*time.Second, between(r, time.Minute, time.Hour), between(r, time.Hour, 9*time.Hour)), 0)
			time.AfterFunc(d, func() { h.clock.set(0, 0) })
			return d
		})},
		{"API out of reach", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, 30*time.Second, 15*time.Minute)
			w.front.mu.Lock()
			defer w.front.mu.Unlock()
			w.front.away = time.Now().Add(d)
			return d, true
		}},
		{"calls to the API fail", 4, func(w *world, r *rand.Rand) (time.Duration, bool) { return w.trip(toAPI, r), true }},
		{"no certificate of the Region", 2, func(w *world, r *rand.Rand) (time.Duration, bool) {
			d := between(r, time.Minute, 15*time.Minute)
			w.front.restart(time.Now().Add(d))
			time.AfterFunc(d, func() {
				if !w.isCalm() {
					w.front.restart(time.Time{})
				}
			})
			return d, true
		}},
		{"instance reboots", 4, caller(func(w *world, r *rand.Rand, m *machine, p *process) {
			p.kill()
			m.sidecar, m.starts = nil, m.starts+1
			if !oneIn(r, 4) { // and what is in /run is gone
				m.forget()
			}
			start := m.starts
			time.AfterFunc(between(r, 20*time.Second, time.Minute), func() { w.fleet.boot(m, fmt.Sprintf("sidecar-%s.%d", m.id[len(m.id)-3:], start), start) })
		})},
		{"instance contested", 6, caller(func(w *world, r *rand.Rand, m *machine, _ *process) { w.impersonate(r, m) })},
		{"instance extends itself", 6, caller(func(w *world, r *rand.Rand, m *machine, p *process) {
			w.asks(p, m, func(ctx context.Context, c *api.Client) error { return extendItself(ctx, p, c, r) })
		})},
		{"instance releases itself", 2, caller(func(w *world, _ *rand.Rand, m *machine, p *process) {
			w.asks(p, m, func(ctx context.Context, c *api.Client) error { return releaseItself(ctx, p, m.id, c) })
		})},
		{"operator settles", 4, func(w *world, r *rand.Rand) (time.Duration, bool) {
			w.person("settle", func(p *process) error { return settleSome(p, r) })
			return 0, true
		}},
	}
}

const apiClockSteps = "API's clock steps"

// calls reports whether a machine has a sidecar that runs and renews through the API. mu of the fleet is held.
func (w *world) calls(m *machine) bool {
	return w.callsAPI(m) && m.sidecar != nil && m.sidecar.alive()
}

// asks lets a program on a machine ask for something, through the API. mu of the fleet is held.
func (w *world) asks(p *process, m *machine, do func(context.Context, *api.Client) error) {
	key := m.key()
	w.processes.Go(func() {
		c, err := w.client(p, m, m.id, key, m.address())
		if err == nil {
			ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
			defer cancel()
			err = do(ctx, c)
		}
		w.log.Info("instance asked", "who", p.name, "error", err)
	})
}

func extendItself(ctx context.Context, p *process, c *api.Client, r *rand.Rand) error {
	d := between(r, time.Minute, 50*time.Minute)
	req := pick(r, lease.ExtendRequest{For: lease.Duration(d)}, lease.ExtendRequest{By: lease.Duration(d)}, lease.ExtendRequest{Until: p.clock.now().Add(d)})
	req.Strict = oneIn(r, 4)
	if oneIn(r, 4) {
		req.Within = lease.Duration(between(r, time.Minute, 30*time.Minute))
	}
	extended, err := c.Extend(ctx, "", req, lease.By{Actor: "instance:x ada"})
	if err == nil && p.alive() {
		p.promise(extended.Lease)
	}
	return err
}

func releaseItself(ctx context.Context, p *process, id string, c *api.Client) error {
	p.w.trace.add(event{kind: unpromised, who: p.name, id: id})
	_, err := c.Release(ctx, "", lease.By{Reason: "done"})
	return err
}

// impersonate puts somebody beside an instance's sidecar who has its document and its join token, and a key of his own or a copy of its
// key. He renews, extends and releases in its name by turns with it, and tries the same in the name of another. mu of the fleet is held.
func (w *world) impersonate(r *rand.Rand, m *machine) {
	name := fmt.Sprintf("thief-%s.%d", m.id[len(m.id)-3:], w.next())
	keys, from := []string{name}, pick(r, m.address(), "10.9.9.9")
	switch r.IntN(4) {
	case 0:
		keys[0] = m.key()
	case 1: // more than an instance may have
		keys = append(keys, name+" b", name+" c", name+" d", name+" e")
	}
	others := slices.DeleteFunc(slices.Clone(w.fleet.machines), func(o *machine) bool { return o == m })
	other := others[r.IntN(len(others))].id
	p := w.start(name, "thief", w.someClock(name), func(p *process) {
		for end := time.Now().Add(between(r, time.Minute, 15*time.Minute)); time.Now().Before(end) && p.ctx.Err() == nil; {
			about := pick(r, m.id, m.id, m.id, other)
			if c, err := w.client(p, m, about, pick(r, keys...), from); err == nil {
				call, cancel := context.WithTimeout(p.ctx, 10*time.Second)
				_ = p.impersonates(call, r, m.id, about, c)
				cancel()
			}
			wait(p.ctx, between(r, time.Second, 80*time.Second))
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.thieves = append(w.thieves, p)
}

// impersonates does one thing that a thief does.
func (p *process) impersonates(ctx context.Context, r *rand.Rand, own, id string, c *api.Client) error {
	hb := lease.Heartbeat{
		InstanceID: id, BootID: p.name, HeartbeatTimeout: lease.Duration(pick(r, time.Minute, time.Hour, 5*time.Second)),
		Changes: pick[int64](r, 0, 5, 1_000_000_000_000), Since: p.clock.now(),
	}
	switch n := r.IntN(8); {
	case n == 0:
		return extendItself(ctx, p, c, r)
	case n == 1 && id == own:
		return releaseItself(ctx, p, id, c)
	case n < 4:
		_, err := c.Claim(ctx, hb)
		return err
	default:
		_, _, err := c.Renew(ctx, lease.Claim{Heartbeat: hb}, hb)
		return err
	}
}

// settleSome is what an operator does about an instance that more than one key speaks for: keeps one of them, not always the right one.
func settleSome(p *process, r *rand.Rand) error {
	s, err := p.store().Snapshot(p.ctx)
	if err != nil {
		return err
	}
	var first, then []lease.Enrolment
	for _, l := range s.Leases {
		if !l.VouchedAt.IsZero() && l.ContestedAt.IsZero() && oneIn(r, 2) {
			return p.invites(l.InstanceID)
		}
		e, err := p.store().Enrolment(p.ctx, l.InstanceID)
		switch {
		case err != nil:
			return err
		case !e.Contested.IsZero():
			first = append(first, e)
		case len(e.Keys) > 0:
			then = append(then, e)
		}
	}
	if len(first) == 0 {
		first = then
	}
	if len(first) == 0 {
		return errors.New("there is none")
	}
	e := first[r.IntN(len(first))]
	p.thinks(r)
	return p.settles(e, e.Keys[r.IntN(len(e.Keys))].SHA256)
}

// settles keeps one key, as `lease settle` does.
func (p *process) settles(e lease.Enrolment, sha string) error {
	_, _, err := p.store().UpdateEnrolment(p.ctx, e.InstanceID, func(e lease.Enrolment) (lease.Enrolment, error) { return e.Settle(sha) })
	if err != nil {
		return err
	}
	_, _, err = p.store().UpdateLease(p.ctx, e.InstanceID, func(l lease.Lease) (lease.Lease, error) { return l.Settled(p.clock.now(), p.by("settled")) })
	if _, over := errors.AsType[*lease.StateError](err); over {
		return nil
	}
	return err
}

// invites lets an instance enrol that could not, as `lease join-token` does.
func (p *process) invites(id string) error {
	token, err := lease.NewJoinToken(newRandom(p.name + id))
	if err != nil {
		return err
	}
	_, _, err = p.store().UpdateEnrolment(p.ctx, id, func(e lease.Enrolment) (lease.Enrolment, error) {
		return e.Invite(p.clock.now(), lease.HashToken(token), lease.By{Actor: p.name}), nil
	})
	if err == nil {
		p.w.fleet.set(func(f *fleet) { f.byID[id].caller.invited = token })
	}
	return err
}

// settleAll keeps the key that each instance has now, and lets those enrol that could not.
func settleAll(p *process, s lease.Snapshot) error {
	if p.w.front == nil {
		return nil
	}
	for _, l := range s.Leases {
		if !l.Live() {
			continue
		}
		e, err := p.store().Enrolment(p.ctx, l.InstanceID)
		if err != nil {
			return err
		}
		if !l.VouchedAt.IsZero() && e.Contested.IsZero() {
			if err := p.invites(l.InstanceID); err != nil {
				return err
			}
		}
		alive := l.VouchedAt.After(p.w.trace.began.Add(p.w.shape.chaos)) // it is alive, and will renew
		if len(e.Keys) == 0 || e.Contested.IsZero() && l.ContestedAt.IsZero() && (l.VouchedAt.IsZero() || alive) {
			continue
		}
		keep := e.Keys[len(e.Keys)-1].SHA256
		if _, own := e.Key(newKey(p.w.fleet.keyOf(l.InstanceID))); own {
			keep = newKey(p.w.fleet.keyOf(l.InstanceID))
		}
		if err := p.settles(e, keep); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) keyOf(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.byID[id]; m != nil {
		return m.key()
	}
	return ""
}
