//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"lapse/lease"
	"lapse/lease/etcd"
)

func rest(ctx context.Context, random *rand.Rand) {
	pause(ctx, time.Duration(20+random.IntN(200))*time.Millisecond)
}

// people extend, unmark and read.
func (l *linear) people(ctx context.Context, client int, random *rand.Rand) {
	for ; ctx.Err() == nil; rest(ctx, random) {
		what := random.IntN(3)
		l.do(ctx, client, func(ctx context.Context, s *etcd.Store, g *generation, in *input) (output, bool) {
			if what == 0 {
				in.kind = opRead
				read, err := s.Lease(ctx, g.id)
				answer, tells := answerOf(err, false)
				return output{answer: answer, after: kept(read)}, tells
			}
			in.kind = opUpdate
			if what == 1 {
				in.extend = time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
			}
			sent := false
			before, after, err := s.UpdateLease(ctx, g.id, func(r lease.Lease) (lease.Lease, error) {
				changed, err := change(r, *in)
				sent = sent || err == nil
				return changed, err
			})
			answer, tells := answerOf(err, sent)
			return output{answer: answer, before: kept(before), after: kept(after)}, tells
		})
	}
}

func change(r lease.Lease, in input) (lease.Lease, error) {
	by := lease.By{Actor: "cli:chaos", Reason: in.tag}
	if in.extend.IsZero() {
		return r.Unmark(time.Now(), by)
	}
	return r.Extend(time.Now(), lease.Extension{Until: in.extend, AllowShorten: true}, by)
}

// launcher binds, again and again, as launchers do that are repeated.
func (l *linear) launcher(ctx context.Context, client int, random *rand.Rand) {
	for ; ctx.Err() == nil; rest(ctx, random) {
		l.do(ctx, client, func(ctx context.Context, s *etcd.Store, g *generation, in *input) (output, bool) {
			in.kind, in.extend = opBind, time.Now().Add(30*time.Minute).UTC().Truncate(time.Millisecond)
			i := lease.Instance{ID: g.id, Location: g.launch.Location(), ClientToken: g.launch.Attempts[0].ClientToken}
			fresh := g.launch.Bind(time.Now(), i, g.launch.Attempts[0], lease.By{Actor: "cli:chaos", Reason: in.tag})
			fresh.ExpiresAt = in.extend
			bound, err := s.Bind(ctx, g.launch, []lease.Lease{fresh})
			answer, tells := answerOf(err, true)
			if len(bound) == 0 {
				return output{answer: answer}, tells
			}
			return output{answer: answer, after: kept(bound[0])}, tells
		})
		pause(ctx, 300*time.Millisecond)
	}
}

// sidecar claims and renews.
func (l *linear) sidecar(ctx context.Context, client int, random *rand.Rand) {
	var claim lease.Claim
	for ; ctx.Err() == nil; rest(ctx, random) {
		l.do(ctx, client, func(ctx context.Context, s *etcd.Store, g *generation, in *input) (output, bool) {
			hb := lease.Heartbeat{InstanceID: g.id, BootID: in.tag, HeartbeatTimeout: lease.Duration(leaseTTL)}
			if claim.Heartbeat.InstanceID != g.id {
				in.kind = opClaim
				made, err := s.Claim(ctx, hb)
				answer, tells := answerOf(err, true)
				if answer == done {
					claim = made
				}
				if answer == heartbeats { // two claimed at once
					answer = conflict
				}
				return output{answer: answer}, tells
			}
			in.kind, hb.BootID = opRenew, claim.Heartbeat.BootID
			renewed, read, err := s.Renew(ctx, claim, hb)
			claim = renewed
			answer, tells := answerOf(err, true)
			if answer == powerless || answer == refused || random.IntN(12) == 0 { // now and then it dies, and another takes over
				claim = lease.Claim{}
			}
			return output{answer: answer, after: kept(read)}, tells
		})
	}
}

// janitor marks and revokes by a leadership of its own, for a lost heartbeat or not, and sometimes closes the launch.
func (l *linear) janitor(ctx context.Context, client int, random *rand.Rand) {
	var leadership *etcd.Leadership
	var registry lease.Registry
	epoch := 0
	for ; ctx.Err() == nil; rest(ctx, random) {
		if leadership != nil && (epoch != l.number() || lost(leadership) || random.IntN(60) == 0) {
			resigning, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = leadership.Resign(resigning) // or it expires
			cancel()
			leadership = nil
		}
		if leadership == nil {
			epoch = l.number()
			leadership, registry = l.campaign(ctx, client)
			continue
		}
		l.do(ctx, client, func(ctx context.Context, s *etcd.Store, g *generation, in *input) (output, bool) {
			if epoch != g.epoch {
				return output{}, false
			}
			return l.act(ctx, s, leadership, registry, g, in, random)
		})
	}
	if leadership != nil {
		_ = leadership.Resign(context.WithoutCancel(ctx))
	}
}

func (l *linear) number() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func lost(o *etcd.Leadership) bool {
	select {
	case <-o.Lost():
		return true
	default:
		return false
	}
}

func (l *linear) campaign(ctx context.Context, client int) (*etcd.Leadership, lease.Registry) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	s := l.stores(client)
	registry, err := s.Registry(ctx)
	if err != nil {
		return nil, registry
	}
	leadership, err := s.Campaign(ctx, "linear", 2*time.Second)
	if err != nil {
		return nil, registry
	}
	return leadership, registry
}

// act reads the lease, and then writes what it thinks fit: whoever wrote in between wins.
func (l *linear) act(ctx context.Context, s *etcd.Store, o *etcd.Leadership, reg lease.Registry, g *generation, in *input, random *rand.Rand) (output, bool) {
	what := random.IntN(30)
	if what == 0 {
		in.kind = opClose
		launch, err := s.Launch(ctx, g.launch.Token)
		if err != nil {
			return output{}, false
		}
		closed, err := launch.Close(time.Now(), "chaos")
		if err == nil {
			_, err = o.PutLaunch(ctx, reg, closed)
		}
		answer, tells := answerOf(err, true)
		if answer == conflict {
			answer = powerless
		}
		return output{answer: answer}, tells
	}
	read, err := s.Lease(ctx, g.id)
	if err != nil || !read.Live() {
		return output{}, false
	}
	pause(ctx, time.Duration(random.IntN(40))*time.Millisecond) // for others to come between
	in.kind, in.expect = opPut, kept(read).tag
	in.called = time.Now()
	by := lease.By{Actor: "janitor:chaos", Reason: in.tag}
	var written lease.Lease
	if what < 24 {
		if read.Mark != nil {
			return output{}, false
		}
		if written, err = read.WithMark(time.Now(), lease.CauseHeartbeatLost, time.Now().Add(time.Minute), by); err == nil {
			written, err = o.PutLease(ctx, reg, written)
		}
	} else {
		in.revoke, in.lost = true, what < 29
		if written, err = read.Revoke(time.Now(), lease.CauseHeartbeatLost, by); err == nil {
			written, err = o.Revoke(ctx, reg, written, in.lost)
		}
	}
	answer, tells := answerOf(err, true)
	return output{answer: answer, after: kept(written)}, tells
}
