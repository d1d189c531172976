package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"lapse/lease"
	"lapse/lease/ec2"
	"lapse/lease/etcd"
)

// keeper is a registry for which somebody adopts and unmanages, as cmd/lease does: it checks, thinks, checks again, writes
// the lease, and then the tag.
type keeper struct {
	namespace, uuid string
}

var (
	ours   = keeper{namespace, registryUUID}
	theirs = keeper{"other", foreignUUID}
)

// hold is one act of a keeper.
type hold struct {
	keeper
	p     *process
	r     *rand.Rand
	store *etcd.Store
	cloud *ec2.Cloud
}

func (k keeper) by(p *process, r *rand.Rand) (hold, error) {
	cloud, err := p.cloud()
	return hold{k, p, r, p.storeOf(k.namespace), cloud}, err
}

// thinks is how long a person takes to answer.
func (p *process) thinks(r *rand.Rand) {
	if oneIn(r, 2) {
		wait(p.ctx, between(r, time.Second, time.Minute))
	}
}

var (
	errRefused  = errors.New("refused")
	errOutdated = errors.New("outdated: it has changed since it was shown")
)

// adopt gives a lease to an instance that bears no registry's tag.
func (k keeper) adopt(p *process, r *rand.Rand) error {
	ids := p.w.fleet.strays()
	if len(ids) == 0 {
		return errors.New("there is none")
	}
	if _, err := p.storeOf(k.namespace).Registry(p.ctx); err != nil { // it tells what the tag has to be
		return err
	}
	h, err := k.by(p, r)
	if err != nil {
		return err
	}
	id := ids[r.IntN(len(ids))]
	if _, _, err := h.adoptable(id); err != nil {
		return err
	}
	p.thinks(r)
	i, before, err := h.adoptable(id)
	if err != nil {
		return err
	}
	l := lease.Adopt(p.clock.now(), i, p.clock.now().Add(between(r, 3*time.Minute, time.Hour)), time.Time{}, "ada", nil, p.by("adopted"))
	if before.Revision > 0 {
		l = l.Succeeding(before)
	}
	if l, err = h.manage(l); err != nil {
		return err
	}
	if k == ours && p.alive() {
		p.promise(l)
	}
	return nil
}

// adoptable describes an instance afresh, with the record that a new lease takes the location of, and refuses one that may not
// be adopted.
func (h hold) adoptable(id string) (i lease.Instance, before lease.Lease, err error) {
	listing, err := h.cloud.Describe(h.p.ctx, []string{id})
	if err != nil || len(listing.Instances) == 0 {
		return i, before, errors.Join(err, errors.New("EC2 does not know it"))
	}
	i = listing.Instances[0]
	tag := i.Tags[registryTag]
	if !i.Alive() || tag != "" && tag != h.uuid || listing.Dated && listing.Skew.Abs() > lease.MaxSkew {
		return i, before, errRefused
	}
	before, err = h.store.Lease(h.p.ctx, id)
	if _, none := errors.AsType[*lease.NotFoundError](err); none {
		return i, lease.Lease{}, nil
	}
	if err == nil && !h.replaceable(before) {
		err = errRefused
	}
	return i, before, err
}

// replaceable reports whether a new lease may take the place of one: its tag was never seen, or it was unmanaged and no
// call to terminate can be on its way.
func (h hold) replaceable(l lease.Lease) bool {
	return l.State == lease.StateAdopting ||
		l.State == lease.StateUnmanaged && (l.TriedAt.IsZero() || h.p.clock.now().Sub(l.TriedAt) >= 5*time.Minute)
}

// manage writes the lease first and sets the tag second, and then looks whose tag is there.
func (h hold) manage(adopting lease.Lease) (lease.Lease, error) {
	id := adopting.InstanceID
	l, err := h.store.PutLease(h.p.ctx, adopting)
	if _, conflict := errors.AsType[*lease.ConflictError](err); conflict {
		return l, errOutdated
	}
	if err != nil {
		return l, err
	}
	tagged := h.cloud.Tag(h.p.ctx, []string{id}, map[string]string{registryTag: h.uuid})[0]
	if tagged.Err != nil && !tagged.Refused() {
		return l, tagged.Err
	}
	i, err := h.shown(id, func(i lease.Instance) bool { return tagged.Err != nil || i.Tags[registryTag] != "" })
	if err != nil {
		return l, err
	}
	if other := i.Tags[registryTag]; other != "" && other != h.uuid {
		_, _, err := h.store.UpdateLease(h.p.ctx, id, func(l lease.Lease) (lease.Lease, error) {
			if !l.Live() {
				return l, nil
			}
			return l.Unmanage(h.p.clock.now(), h.p.by("it is another registry's"))
		})
		return l, errors.Join(err, errRefused)
	}
	if tagged.Err != nil {
		return l, tagged.Err
	}
	if now, err := h.store.Lease(h.p.ctx, id); err != nil || now.Live() {
		return l, err
	}
	return l, errors.Join(errOutdated, h.unmark(id))
}

// shown describes an instance afresh until it is as wanted, for a while.
func (h hold) shown(id string, wanted func(lease.Instance) bool) (i lease.Instance, err error) {
	for range 4 {
		listing, err := h.cloud.Describe(h.p.ctx, []string{id})
		if err != nil {
			return i, err
		}
		if len(listing.Instances) > 0 {
			i = listing.Instances[0]
		}
		if wanted(i) || !i.Alive() {
			break
		}
		wait(h.p.ctx, 2500*time.Millisecond)
	}
	return i, h.p.ctx.Err()
}

// unmanage gives up a lease first and removes the tags second. What was given up before can be given up again.
func (k keeper) unmanage(p *process, r *rand.Rand) error {
	h, err := k.by(p, r)
	if err != nil {
		return err
	}
	able := func(l lease.Lease) bool {
		return l.State != lease.StateEnded && (l.State != lease.StateUnmanaged || oneIn(r, 3))
	}
	s, err := h.store.Snapshot(p.ctx)
	if err != nil {
		return err
	}
	l, err := someOf(s, r, able)
	if err != nil {
		return err
	}
	p.thinks(r)
	now, err := h.store.Lease(p.ctx, l.InstanceID)
	if err != nil {
		return err
	}
	if now.Live() && !l.Live() {
		return errOutdated
	}
	l, _, err = h.store.UpdateLease(p.ctx, l.InstanceID, func(l lease.Lease) (lease.Lease, error) {
		if l.State == lease.StateUnmanaged {
			return l, nil
		}
		return l.Unmanage(p.clock.now(), p.by("forgotten"))
	})
	if err != nil {
		return err
	}
	return h.unmark(l.InstanceID)
}

// unmark removes the registry's tags from instances that were given up, each by its value, until EC2 shows none of
// them. If somebody has adopted one again in the meantime, and it has no registry's tag, the removed tags are set
// again.
func (h hold) unmark(id string) error {
	removed := map[string]string{}
	i, err := h.shown(id, func(i lease.Instance) bool {
		borne := h.borne(i)
		if len(borne) == 0 {
			return true
		}
		maps.Copy(removed, borne)
		return h.cloud.Untag(h.p.ctx, id, borne) != nil
	})
	if err != nil {
		return err
	}
	if left := h.borne(i); len(left) > 0 {
		return fmt.Errorf("EC2 still shows tags of %s", id)
	}
	l, err := h.store.Lease(h.p.ctx, id)
	if err == nil && l.Live() && i.Alive() && i.Tags[registryTag] == "" && removed[registryTag] != "" {
		err = h.cloud.Tag(h.p.ctx, []string{id}, removed)[0].Err
	}
	return err
}

// borne are the registry's tags on an instance: none if it bears another registry's.
func (h hold) borne(i lease.Instance) map[string]string {
	tags := map[string]string{}
	if registry := i.Tags[registryTag]; registry != "" && registry != h.uuid || !i.Alive() {
		return tags
	}
	for _, key := range []string{registryTag, launchTag, expiresTag, leasedTag} {
		if value, is := i.Tags[key]; is {
			tags[key] = value
		}
	}
	return tags
}

// takeAway gives a lease back, or takes it away, if it still is what was shown before the question.
func takeAway(p *process, r *rand.Rand, cause lease.Cause) error {
	s, err := p.store().Snapshot(p.ctx)
	if err != nil {
		return err
	}
	shown, err := someOf(s, r, lease.Lease.Live)
	if err != nil {
		return err
	}
	p.thinks(r)
	p.w.trace.add(event{kind: unpromised, who: p.name, id: shown.InstanceID})
	_, _, err = p.store().UpdateLease(p.ctx, shown.InstanceID, func(l lease.Lease) (lease.Lease, error) {
		if l.Live() && (!shown.GrantedAt.Equal(l.GrantedAt) || !shown.ExpiresAt.Equal(l.ExpiresAt)) {
			return l, errOutdated
		}
		return l.Revoke(p.clock.now(), cause, p.by("given back"))
	})
	return err
}

// endWhatWaits is an operator's word for what only that ends: what is revoked by a record that is behind its tag, and what is
// over by a record whose number no tag can follow.
func endWhatWaits(p *process, s lease.Snapshot) error {
	for _, l := range s.Leases {
		waits := l.AwaitsOperator() && p.clock.now().Sub(l.RevokedAt).Abs() > 5*time.Minute // by then it is overdue
		spent := l.State == lease.StateActive && l.Over(p.clock.now(), 0) && l.ExpiresNumber > lease.MaxTagNumber
		if !waits && !spent {
			continue
		}
		p.w.trace.add(event{kind: unpromised, who: p.name, id: l.InstanceID})
		_, _, err := p.store().UpdateLease(p.ctx, l.InstanceID, func(l lease.Lease) (lease.Lease, error) {
			if l.AwaitsOperator() {
				return l.RevokeAgain(p.clock.now(), p.by("it waits for its tag"))
			}
			return l.Revoke(p.clock.now(), lease.CauseRevoke, p.by("its number is spent"))
		})
		if _, state := errors.AsType[*lease.StateError](err); err != nil && !state {
			return err
		}
	}
	return nil
}

// strays are the ids of what runs and bears no registry's tag.
func (f *fleet) strays() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, m := range f.machines {
		if (m.role == launchedRole || m.role == adoptableRole) && m.tags[registryTag] == "" && !m.ending() {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// startTheirs creates the other registry.
func (w *world) startTheirs() {
	w.person("init theirs", func(p *process) error {
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
		defer cancel()
		_, err := p.storeOf(theirs.namespace).PutRegistry(ctx, lease.NewRegistry(p.clock.now(), theirs.uuid, lease.ModeArmed))
		return err
	})
}
