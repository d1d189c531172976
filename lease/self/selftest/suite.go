// Package selftest is the suite that every way of an instance to its own lease passes: over a store, and through the API.
package selftest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"lapse/lease"
	"lapse/lease/leasetest"
)

// Way is what a sidecar needs.
type Way interface {
	Claim(ctx context.Context, h lease.Heartbeat) (lease.Claim, error)
	Renew(ctx context.Context, c lease.Claim, h lease.Heartbeat) (lease.Claim, lease.Lease, error)
	Extend(ctx context.Context, id string, req lease.ExtendRequest, by lease.By) (lease.Extended, error)
	Release(ctx context.Context, id string, by lease.By) (lease.Lease, error)
	Checkpoint(ctx context.Context) (lease.Checkpoint, error)
	Peers(ctx context.Context, id string) ([]lease.Peer, error)
}

// World is a way under test, the instance that goes it, and the store behind it, with a registry and no lease.
type World struct {
	Way   Way
	ID    string
	Store *leasetest.Store
}

type fixture struct {
	*testing.T
	World
}

// Run tests the ways that open makes. Each case has a new one.
func Run(t *testing.T, open func(t *testing.T) World) {
	t.Helper()
	cases := map[string]func(*fixture){
		"an instance without a lease renews":            unbound,
		"the first renewal of a lease is noted in it":   claimNoted,
		"a renewal tells the lease as it is":            renewTells,
		"a renewal says what the sidecar has seen":      renewSays,
		"a renewal moves the heartbeat to a timeout":    renewMoves,
		"a claim without a timeout has the default":     claimDefault,
		"a revoked lease is neither claimed nor kept":   revoked,
		"an expired heartbeat is lost":                  lapsed,
		"a heartbeat that another boot claimed is lost": taken,
		"a lost heartbeat can be claimed again":         claimedAgain,
		"a lease that cannot be read keeps nobody away": unreadable,
		"what is too long for a heartbeat is refused":   tooLong,
		"an extension is granted as far as it may be":   extensions,
		"an extension without a lease is refused":       extendNothing,
		"an extension of a revoked lease is refused":    extendRevoked,
		"an extension is signed":                        extendSigned,
		"a released lease is revoked":                   released,
		"a contested lease is not released":             contested,
		"the last sweep is told":                        checkpoint,
	}
	maps.Copy(cases, peerCases())
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&fixture{t, open(t)})
		})
	}
}

func (t *fixture) heartbeat(boot string) lease.Heartbeat {
	return lease.Heartbeat{
		Schema: lease.Schema, InstanceID: t.ID, BootID: boot, Address: "10.0.0.1", Version: "v1",
		HeartbeatTimeout: lease.Duration(time.Minute), Since: time.Now().UTC().Truncate(time.Second),
	}
}

func (t *fixture) claim(boot string) lease.Claim {
	t.Helper()
	claim, err := t.Way.Claim(t.Context(), t.heartbeat(boot))
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func (t *fixture) renew(c lease.Claim) (lease.Lease, error) {
	t.Helper()
	_, l, err := t.Way.Renew(t.Context(), c, c.Heartbeat)
	return l, err
}

// lease stores a lease that expires in a day, and in a week at the latest.
func (t *fixture) lease(changes ...func(*lease.Lease)) lease.Lease {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	l := lease.Lease{
		Schema: lease.Schema, InstanceID: t.ID, State: lease.StateActive, Account: "123456789012", Region: "us-east-1", GrantedAt: now,
		ExpiresAt: now.Add(24 * time.Hour), ExpiresNumber: 1, MaxExpiresAt: now.Add(7 * 24 * time.Hour),
	}
	for _, change := range changes {
		change(&l)
	}
	l, err := t.Store.PutLease(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (t *fixture) revoke() {
	t.Helper()
	_, _, err := t.Store.UpdateLease(t.Context(), t.ID, func(l lease.Lease) (lease.Lease, error) {
		return l.Revoke(time.Now(), lease.CauseRevoke, lease.By{Actor: "ada"})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func errorOf[E error](t *fixture, err error) E {
	t.Helper()
	e, is := errors.AsType[E](err)
	if !is {
		t.Fatalf("%T %v; want %T", err, err, e)
	}
	return e
}

func wantError[E error](t *fixture, err error) {
	t.Helper()
	_ = errorOf[E](t, err)
}

func unbound(t *fixture) {
	claim := t.claim("boot")
	if l, err := t.renew(claim); err != nil || l.InstanceID != "" {
		t.Errorf("%+v, %v", l, err)
	}
	if hb := claim.Heartbeat; hb.InstanceID != t.ID || hb.BootID != "boot" || time.Duration(hb.HeartbeatTimeout) != time.Minute {
		t.Errorf("claimed %+v", hb)
	}
}

func claimNoted(t *fixture) {
	claim := t.claim("boot")
	t.lease()
	l, err := t.renew(claim)
	if err != nil || l.InstanceID != t.ID || l.ClaimedAt.IsZero() {
		t.Fatalf("%+v, %v", l, err)
	}
	if again, err := t.renew(claim); err != nil || again.Revision != l.Revision {
		t.Errorf("noted again: %+v, %v", again, err)
	}
}

func renewTells(t *fixture) {
	t.lease()
	claim := t.claim("boot")
	until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	_, _, err := t.Store.UpdateLease(t.Context(), t.ID, func(l lease.Lease) (lease.Lease, error) {
		return l.Extend(time.Now(), lease.Extension{Until: until}, lease.By{Actor: "ada"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := t.renew(claim); err != nil || !l.ExpiresAt.Equal(until) {
		t.Errorf("%+v, %v", l, err)
	}
}

func (t *fixture) stored() lease.Heartbeat {
	t.Helper()
	snapshot, err := t.Store.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Heartbeats[t.ID]
}

func renewSays(t *fixture) {
	t.lease(func(l *lease.Lease) { l.Changes, l.ClaimedAt = 5, time.Now() })
	claim := t.claim("boot")
	if l, err := t.renew(claim); err != nil || l.Changes != 5 {
		t.Fatalf("%+v, %v", l, err)
	}
	hb := claim.Heartbeat
	hb.Changes = 5
	if _, _, err := t.Way.Renew(t.Context(), claim, hb); err != nil || t.stored().Changes != 5 || !t.stored().Held {
		t.Errorf("%+v, %v", t.stored(), err)
	}
}

func renewMoves(t *fixture) {
	t.lease()
	claim := t.claim("boot")
	hb := claim.Heartbeat
	hb.HeartbeatTimeout = lease.Duration(10 * time.Minute)
	claim, _, err := t.Way.Renew(t.Context(), claim, hb)
	if err != nil || claim.Heartbeat.HeartbeatTimeout != hb.HeartbeatTimeout || t.stored().HeartbeatTimeout != hb.HeartbeatTimeout {
		t.Errorf("%+v, %v", claim, err)
	}
	if _, err := t.renew(claim); err != nil {
		t.Error(err)
	}
}

func claimDefault(t *fixture) {
	hb := t.heartbeat("boot")
	hb.HeartbeatTimeout = 0
	claim, err := t.Way.Claim(t.Context(), hb)
	if err != nil || claim.Heartbeat.HeartbeatTimeout != lease.Duration(lease.DefaultHeartbeatTimeout) {
		t.Errorf("%+v, %v", claim, err)
	}
}

func revoked(t *fixture) {
	t.lease()
	claim := t.claim("boot")
	t.revoke()
	_, err := t.renew(claim)
	if e := errorOf[*lease.StateError](t, err); e.State != lease.StateRevoked || e.Cause != lease.CauseRevoke || e.Since.IsZero() {
		t.Errorf("%+v", e)
	}
	_, err = t.Way.Claim(t.Context(), t.heartbeat("boot"))
	wantError[*lease.StateError](t, err)
}

func lapsed(t *fixture) {
	claim := t.claim("boot")
	t.Store.Lapse(t.ID)
	_, err := t.renew(claim)
	if e := errorOf[*lease.ClaimLostError](t, err); e.ID != t.ID || e.By != "" {
		t.Errorf("%+v", e)
	}
}

func taken(t *fixture) {
	claim := t.claim("boot-1")
	t.claim("boot-2")
	_, err := t.renew(claim)
	if e := errorOf[*lease.ClaimLostError](t, err); e.By != "boot-2" {
		t.Errorf("%+v", e)
	}
}

func claimedAgain(t *fixture) {
	t.claim("boot")
	t.Store.Lapse(t.ID)
	if _, err := t.renew(t.claim("boot")); err != nil {
		t.Error(err)
	}
}

func unreadable(t *fixture) {
	t.Store.Put("lease", t.ID, []byte(`{not JSON`))
	claim := t.claim("boot")
	_, _, err := t.Way.Renew(t.Context(), claim, claim.Heartbeat)
	if err == nil || !t.stored().Held {
		t.Errorf("%v; the heartbeat is %+v", err, t.stored())
	}
}

func tooLong(t *fixture) {
	hb := t.heartbeat("boot")
	hb.HeartbeatTimeout = lease.Duration(2 * time.Hour)
	if _, err := t.Way.Claim(t.Context(), hb); err == nil {
		t.Error("a timeout of two hours is accepted")
	}
}

func extensions(t *fixture) {
	const day = 24 * time.Hour
	limit := lease.Duration(3 * day)
	granted := t.lease(func(l *lease.Lease) { l.SelfExtend = &limit })
	start := granted.GrantedAt
	for _, c := range []struct {
		name    string
		req     lease.ExtendRequest
		want    time.Duration
		clamped bool
	}{
		{"for less than it has", lease.ExtendRequest{For: lease.Duration(time.Hour)}, day, false},
		{"by", lease.ExtendRequest{By: lease.Duration(time.Hour)}, day + time.Hour, false},
		{"until", lease.ExtendRequest{Until: start.Add(2 * day)}, 2 * day, false},
		{"within", lease.ExtendRequest{For: lease.Duration(10 * day), Within: lease.Duration(2*day + time.Hour)}, 2*day + time.Hour, true},
		{"past its own limit", lease.ExtendRequest{For: lease.Duration(10 * day)}, 3 * day, true},
	} {
		got, err := t.Way.Extend(t.Context(), t.ID, c.req, lease.By{Actor: "instance:" + t.ID + " uid=0"})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if is := got.Granted.Sub(start); is < c.want || is > c.want+time.Minute || got.Clamped != c.clamped || !got.Lease.ExpiresAt.Equal(got.Granted) {
			t.Errorf("%s: granted %s, clamped %t", c.name, is, got.Clamped)
		}
	}
	strict := lease.ExtendRequest{For: lease.Duration(10 * day), Strict: true}
	_, err := t.Way.Extend(t.Context(), t.ID, strict, lease.By{})
	wantError[*lease.ClampedError](t, err)
	_, err = t.Way.Extend(t.Context(), t.ID, lease.ExtendRequest{}, lease.By{})
	wantError[*lease.LimitError](t, err)
	_, err = t.Way.Extend(t.Context(), t.ID, lease.ExtendRequest{Until: start.Add(-day)}, lease.By{})
	wantError[*lease.PastError](t, err)
	_, err = t.Way.Extend(t.Context(), t.ID, lease.ExtendRequest{Until: start.Add(time.Hour)}, lease.By{})
	wantError[*lease.ShortenError](t, err)
}

func extendNothing(t *fixture) {
	_, err := t.Way.Extend(t.Context(), t.ID, lease.ExtendRequest{For: lease.Duration(time.Hour)}, lease.By{})
	wantError[*lease.NotFoundError](t, err)
}

func extendRevoked(t *fixture) {
	t.lease()
	t.revoke()
	_, err := t.Way.Extend(t.Context(), t.ID, lease.ExtendRequest{For: lease.Duration(48 * time.Hour)}, lease.By{})
	wantError[*lease.StateError](t, err)
}

func extendSigned(t *fixture) {
	t.lease()
	req := lease.ExtendRequest{By: lease.Duration(time.Hour), Reason: "build runs on"}
	got, err := t.Way.Extend(t.Context(), t.ID, req, lease.By{Actor: "instance:" + t.ID + " uid=7"})
	if err != nil {
		t.Fatal(err)
	}
	last := got.Lease.History[len(got.Lease.History)-1]
	if last.Actor != "instance:"+t.ID+" uid=7" || last.Reason != "build runs on" || last.Action != lease.ActionExtend {
		t.Errorf("%+v", last)
	}
}

func released(t *fixture) {
	t.lease()
	l, err := t.Way.Release(t.Context(), t.ID, lease.By{Actor: "instance:" + t.ID + " uid=0", Reason: "done"})
	if err != nil || l.State != lease.StateRevoked || l.Cause != lease.CauseRelease {
		t.Fatalf("%+v, %v", l, err)
	}
	if last := l.History[len(l.History)-1]; last.Actor != "instance:"+t.ID+" uid=0" || last.Reason != "done" {
		t.Errorf("%+v", last)
	}
	_, err = t.Way.Release(t.Context(), t.ID, lease.By{})
	wantError[*lease.StateError](t, err)
}

func contested(t *fixture) {
	t.lease(func(l *lease.Lease) { l.ContestedAt = time.Now() })
	_, err := t.Way.Release(t.Context(), t.ID, lease.By{})
	wantError[*lease.ContestedError](t, err)
	if l, err := t.Store.Lease(t.Context(), t.ID); err != nil || !l.Live() {
		t.Errorf("%+v, %v", l, err)
	}
}

func checkpoint(t *fixture) {
	_, err := t.Way.Checkpoint(t.Context())
	wantError[*lease.NotFoundError](t, err)
	leader, err := t.Store.Campaign(t.Context(), "one", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := t.Store.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	written, err := leader.PutCheckpoint(t.Context(), registry, lease.Checkpoint{Schema: lease.Schema, Sequence: 7, Time: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := t.Way.Checkpoint(t.Context()); err != nil || got.Sequence != 7 || !got.Time.Equal(written.Time) {
		t.Errorf("%+v, %v", got, err)
	}
}
