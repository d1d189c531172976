package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapse/lease"
)

// deed is what a person does with a command line.
type deed struct {
	name   string
	weight int
	do     func(*process, *rand.Rand) error
}

func deeds() []deed {
	return []deed{
		{"extend", 6, extend},
		{"shorten", 2, shorten},
		{"unmark", 2, unmark},
		{"release", 3, func(p *process, r *rand.Rand) error { return takeAway(p, r, lease.CauseRelease) }},
		{"revoke", 1, func(p *process, r *rand.Rand) error { return takeAway(p, r, lease.CauseRevoke) }},
		{"release a launch", 1, releaseLaunch},
		{"adopt", 3, ours.adopt},
		{"unmanage", 2, ours.unmanage},
		{"adopt for another registry", 2, theirs.adopt},
		{"unmanage for another registry", 1, theirs.unmanage},
		{"launch again", 5, again},
		{"pause", 1, func(p *process, r *rand.Rand) error { return setMode(p, lease.ModePaused) }},
		{"observe", 1, func(p *process, r *rand.Rand) error { return setMode(p, lease.ModeObserve) }},
		{"arm", 3, func(p *process, r *rand.Rand) error { return setMode(p, lease.ModeArmed) }},
		{"release-brake heartbeats", 1, func(p *process, r *rand.Rand) error { return lift(p, lease.BrakeHeartbeats) }},
		{"newer release", 3, newer},
	}
}

// person runs a command, for as long as people wait.
func (w *world) person(what string, do func(*process) error) *process {
	name := fmt.Sprintf("cli-%d", w.next())
	return w.start(name, "person: "+what, w.someClock(name), func(p *process) {
		ctx, cancel := context.WithTimeout(p.ctx, 2*time.Minute)
		defer cancel()
		p.ctx = ctx
		if err := do(p); err != nil {
			w.log.Info("person failed", "what", what, "error", err)
		}
	})
}

func initialise(p *process, uuid string) error {
	registry := lease.NewRegistry(p.clock.now(), uuid, lease.ModeArmed)
	registry.API = p.w.url()
	_, err := p.store().PutRegistry(p.ctx, registry)
	return err
}

// someLease is one that a person has in mind: it is on record, and like this.
func someLease(p *process, r *rand.Rand, like func(lease.Lease) bool) (string, error) {
	s, err := p.store().Snapshot(p.ctx)
	if err != nil {
		return "", err
	}
	l, err := someOf(s, r, like)
	return l.InstanceID, err
}

func someOf(s lease.Snapshot, r *rand.Rand, like func(lease.Lease) bool) (lease.Lease, error) {
	able := slices.DeleteFunc(s.Leases, func(l lease.Lease) bool { return !like(l) })
	if len(able) == 0 {
		return lease.Lease{}, errors.New("there is none")
	}
	return able[r.IntN(len(able))], nil
}

func extend(p *process, r *rand.Rand) error {
	id, err := someLease(p, r, func(l lease.Lease) bool { return l.Live() && !l.ExpiresAt.IsZero() })
	if err != nil {
		return err
	}
	return extendTo(p, id, between(r, 5*time.Minute, 40*time.Minute))
}

func extendTo(p *process, id string, d time.Duration) error {
	to := lease.Extension{Until: p.clock.now().Add(d), AtLeast: true}
	_, after, err := p.store().UpdateLease(p.ctx, id, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(p.clock.now(), to, p.by("extended"))
	})
	if err == nil && p.alive() {
		p.promise(after)
	}
	return err
}

// shorten makes the earlier date count from before it is written: it may have been written even if no answer comes.
func shorten(p *process, r *rand.Rand) error {
	id, err := someLease(p, r, lease.Lease.Live)
	if err != nil {
		return err
	}
	return shortenTo(p, id, between(r, 20*time.Second, 10*time.Minute))
}

func shortenTo(p *process, id string, d time.Duration) error {
	p.w.trace.add(event{kind: unpromised, who: p.name, id: id})
	to := lease.Extension{Until: p.clock.now().Add(d), AllowShorten: true}
	_, after, err := p.store().UpdateLease(p.ctx, id, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(p.clock.now(), to, p.by("shortened"))
	})
	if err == nil && p.alive() {
		p.promise(after)
	}
	return err
}

func unmark(p *process, r *rand.Rand) error {
	id, err := someLease(p, r, func(l lease.Lease) bool { return l.Live() && l.Mark != nil })
	if err != nil {
		return err
	}
	_, _, err = p.store().UpdateLease(p.ctx, id, func(l lease.Lease) (lease.Lease, error) { return l.Unmark(p.clock.now(), p.by("unmarked")) })
	return err
}

func releaseLaunch(p *process, r *rand.Rand) error {
	s, err := p.store().Snapshot(p.ctx)
	if err != nil || len(s.Launches) == 0 {
		return err
	}
	token := s.Launches[r.IntN(len(s.Launches))].Token
	_, _, err = p.store().UpdateLaunch(p.ctx, token, func(l lease.Launch) (lease.Launch, error) { return l.Close(p.clock.now(), "released") })
	return err
}

// again launches with a token that was used before.
func again(p *process, r *rand.Rand) error {
	p.w.mu.Lock()
	order := slices.Clone(p.w.order)
	p.w.mu.Unlock()
	if len(order) > 0 {
		p.w.launch(order[r.IntN(len(order))])
	}
	return nil
}

func setMode(p *process, mode lease.Mode) error {
	_, _, err := p.store().UpdateRegistry(p.ctx, func(r lease.Registry) (lease.Registry, error) { return r.To(p.clock.now(), mode, lease.By{}), nil })
	return err
}

// lift releases a brake, as `janitor release-brake` does.
func lift(p *process, name string) error {
	s, err := p.store().Snapshot(p.ctx)
	if err != nil {
		return err
	}
	held := slices.DeleteFunc(s.Registry.Stands(s.Checkpoint.Brakes), func(b lease.Brake) bool {
		return b.Name != name || name != lease.BrakeHeartbeats && !b.Standing()
	})
	if name == lease.BrakeRollback {
		if err := catchUp(p, s); err != nil {
			return err
		}
	}
	if len(held) == 0 {
		return nil
	}
	if name != lease.BrakeHeartbeats {
		p.w.trace.add(event{kind: unpromised, who: p.name, text: "lifts " + name})
	}
	_, _, err = p.store().UpdateRegistry(p.ctx, func(r lease.Registry) (lease.Registry, error) {
		return r.Lift(p.clock.now(), name, held, lease.By{Actor: p.name}), nil
	})
	return err
}

// catchUp lets the leases count as they are of which a sidecar has seen a later state.
func catchUp(p *process, s lease.Snapshot) error {
	seen := map[string]int64{}
	maps.Copy(seen, s.Checkpoint.Behind)
	for id, hb := range s.Heartbeats {
		seen[id] = max(seen[id], hb.Changes)
	}
	for _, l := range s.Leases {
		if seen[l.InstanceID] <= l.Changes {
			continue
		}
		p.w.trace.add(event{kind: unpromised, who: p.name, id: l.InstanceID, text: "caught up"})
		if _, _, err := p.store().UpdateLease(p.ctx, l.InstanceID, func(l lease.Lease) (lease.Lease, error) {
			return l.CatchUp(p.clock.now(), seen[l.InstanceID], p.by("caught up")), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// setRight is what a person does about an engaged brake: creates the registry again if it is lost, recovers leases,
// releases the brakes that need a person, and arms.
func setRight(p *process) error {
	store := p.store()
	_, err := store.Registry(p.ctx)
	var none *lease.NotFoundError
	if errors.As(err, &none) {
		err = initialise(p, registryUUID)
	}
	if err != nil {
		return err
	}
	p.w.mu.Lock()
	lost := p.w.lostData
	p.w.mu.Unlock()
	if lost {
		if err := recoverLeases(p); err != nil {
			return err
		}
	}
	for _, name := range []string{lease.BrakeRollback, lease.BrakeUnwatched, lease.BrakeHeartbeats} {
		if err := lift(p, name); err != nil {
			return err
		}
	}
	s, err := store.Snapshot(p.ctx)
	if err != nil {
		return err
	}
	if err := endWhatWaits(p, s); err != nil {
		return err
	}
	if err := settleAll(p, s); err != nil {
		return err
	}
	return setMode(p, lease.ModeArmed)
}

// recoverLeases makes leases from tags, as `lease recover` does. What is held because its sidecar has seen a lease of it, and
// is refused there, is adopted, as `janitor resume` says.
func recoverLeases(p *process) error {
	h, err := ours.by(p, nil)
	if err != nil {
		return err
	}
	listing, err := h.cloud.List(p.ctx)
	if err != nil {
		return err
	}
	if listing.Dated && listing.Skew.Abs() > lease.MaxSkew {
		return errRefused // the dates are counted from this clock
	}
	s, err := p.store().Snapshot(p.ctx)
	if err != nil {
		return err
	}
	adoptable := []lease.Obstacle{lease.ObstacleCopied, lease.ObstacleDoubt, lease.ObstacleExempt, lease.ObstacleOrphan}
	recovery := lease.NewRecovery(s, lease.RecoveryTerms{})
	for _, i := range listing.Instances {
		l, err := recovery.Lease(p.clock.now(), i, p.by("recovered"))
		refused, _ := errors.AsType[*lease.UnrecoverableError](err)
		switch {
		case err == nil:
			_, err = p.store().PutLease(p.ctx, l)
		case s.Checkpoint.Behind[i.ID] > 0 && refused != nil && slices.Contains(adoptable, refused.Obstacle):
			l = lease.Adopt(p.clock.now(), i, p.clock.now().Add(24*time.Hour), time.Time{}, "ada", nil, p.by("adopted"))
			l.Changes += s.Heartbeats[i.ID].Changes
			_, err = h.manage(l)
		default: // it says why
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newer adds to a record what only a newer release knows. Whoever writes it later must leave that alone.
func newer(p *process, r *rand.Rand) error {
	id, err := someLease(p, r, lease.Lease.Live)
	if err != nil {
		return err
	}
	key := "/lapse/" + namespace + "/leases/" + id
	client := p.w.etcd.Client(p.name, p.etcdLink)
	got, err := client.Get(p.ctx, key)
	if err != nil || len(got.Kvs) == 0 {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(got.Kvs[0].GetValue(), &fields); err != nil {
		return err
	}
	fields["next_release"] = json.RawMessage(fmt.Sprintf(`{"of":%q}`, p.name))
	value, err := json.Marshal(fields)
	if err != nil || bytes.Equal(value, got.Kvs[0].GetValue()) {
		return err
	}
	_, err = client.Txn(p.ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", got.Kvs[0].GetModRevision())).
		Then(clientv3.OpPut(key, string(value))).Commit()
	return err
}
