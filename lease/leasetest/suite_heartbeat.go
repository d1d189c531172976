package leasetest

import (
	"testing"
	"time"

	"lapse/lease"
)

func heartbeatCases() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"an instance without a lease may beat":               beatUnbound,
		"a heartbeat finds its lease as soon as it is bound": beatFindsLease,
		"a renewal tells the lease as it is":                 renewTellsLease,
		"a renewal writes only what is new":                  renewWritesNews,
		"a renewal with another TTL moves the key":           renewMovesTTL,
		"a claim without a TTL has the default":              claimDefaultTTL,
		"a claim for a revoked lease is refused":             claimRevoked,
		"a renewal for a revoked lease is refused":           renewRevoked,
		"a claim that lapsed is lost":                        lapsedIsLost,
		"a claim that somebody took over is lost to them":    takenOverIsLost,
		"a lapsed heartbeat can be claimed again":            claimAgain,
		"an unreadable lease keeps nobody from beating":      beatUnreadable,
	}
}

func (f *fixture) claim(t *testing.T, boot string) lease.Claim {
	t.Helper()
	return must[lease.Claim](t)(f.Store.Claim(t.Context(), beatOf(someID, boot)))
}

// renew renews with the claim's own heartbeat.
func (f *fixture) renew(t *testing.T, claim lease.Claim) (lease.Claim, lease.Lease, error) {
	t.Helper()
	return f.Store.Renew(t.Context(), claim, claim.Heartbeat)
}

func (f *fixture) revoke(t *testing.T) lease.Lease {
	t.Helper()
	_, revoked, err := f.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) {
		return l.Revoke(now(), lease.CauseOperator, by())
	})
	if err != nil {
		t.Fatal(err)
	}
	return revoked
}

func beatUnbound(t *testing.T, f *fixture) {
	claim := f.claim(t, "boot")
	if claim.Handle == 0 || claim.Revision == 0 || !claim.Heartbeat.Held || claim.Heartbeat.Created != claim.Revision {
		t.Errorf("claim %+v", claim)
	}
	again, l, err := f.renew(t, claim)
	if err != nil || l.InstanceID != "" {
		t.Errorf("lease %+v, %v", l, err)
	}
	wantSame(t, again, claim)
}

func beatFindsLease(t *testing.T, f *fixture) {
	claim := f.claim(t, "boot")
	bound := f.lease(t, someID)
	_, l, err := f.renew(t, claim)
	if err != nil || l.Revision != bound.Revision || l.InstanceID != someID {
		t.Errorf("lease %+v, %v", l, err)
	}
}

func renewTellsLease(t *testing.T, f *fixture) {
	l := f.lease(t, someID)
	claim := f.claim(t, "boot")
	extended, err := l.Extend(now(), lease.Extension{Until: now().Add(2 * time.Hour)}, by())
	if err != nil {
		t.Fatal(err)
	}
	must[lease.Lease](t)(f.Store.PutLease(t.Context(), extended))
	_, seen, err := f.renew(t, claim)
	if err != nil || !seen.ExpiresAt.Equal(now().Add(2*time.Hour)) {
		t.Errorf("lease %+v, %v", seen, err)
	}
}

func renewWritesNews(t *testing.T, f *fixture) {
	f.registry(t)
	f.lease(t, someID)
	claim := f.claim(t, "boot")
	claim, _, err := f.renew(t, claim)
	if err != nil {
		t.Fatal(err)
	}
	hb := claim.Heartbeat
	hb.Changes = 5
	next, _, err := f.Store.Renew(t.Context(), claim, hb)
	if err != nil || next.Revision <= claim.Revision || next.Handle != claim.Handle || next.Heartbeat.Changes != 5 {
		t.Errorf("from %+v to %+v, %v", claim, next, err)
	}
	stored := f.snapshot(t).Heartbeats[someID]
	if stored.Changes != 5 || !stored.Held || stored.Created != claim.Heartbeat.Created {
		t.Errorf("stored %+v", stored)
	}
	if again, _, err := f.Store.Renew(t.Context(), next, hb); err != nil || again.Revision != next.Revision {
		t.Errorf("renewed without news: revision %d over %d, %v", again.Revision, next.Revision, err)
	}
}

func renewMovesTTL(t *testing.T, f *fixture) {
	f.registry(t)
	f.lease(t, someID)
	claim := f.claim(t, "boot")
	hb := claim.Heartbeat
	hb.TTL = lease.Duration(10 * time.Minute)
	next, l, err := f.Store.Renew(t.Context(), claim, hb)
	if err != nil || next.Handle == claim.Handle || next.Heartbeat.TTL != hb.TTL || l.InstanceID != someID {
		t.Fatalf("from %+v to %+v, %v", claim, next, err)
	}
	if _, _, err := f.renew(t, next); err != nil {
		t.Error(err)
	}
	if stored := f.snapshot(t).Heartbeats[someID]; !stored.Held || stored.TTL != hb.TTL || stored.Created != claim.Heartbeat.Created {
		t.Errorf("stored %+v", stored)
	}
	_, _, err = f.renew(t, claim)
	wantError[*lease.ClaimLostError](t, err)
}

func claimDefaultTTL(t *testing.T, f *fixture) {
	hb := beatOf(someID, "boot")
	hb.TTL = 0
	claim := must[lease.Claim](t)(f.Store.Claim(t.Context(), hb))
	wantSame(t, claim.Heartbeat.TTL, lease.Duration(lease.DefaultTTL))
	if again, _, err := f.Store.Renew(t.Context(), claim, hb); err != nil || again.Handle != claim.Handle {
		t.Errorf("renewed as %+v, %v", again, err)
	}
}

func claimRevoked(t *testing.T, f *fixture) {
	f.lease(t, someID)
	revoked := f.revoke(t)
	_, err := f.Store.Claim(t.Context(), beatOf(someID, "boot"))
	refusal := wantError[*lease.StateError](t, err)
	if refusal.State != lease.StateRevoked || refusal.Cause != lease.CauseOperator || !refusal.Since.Equal(revoked.RevokedAt) {
		t.Errorf("refused with %+v", refusal)
	}
	if data := f.Get(t, "heartbeat", someID); data != nil {
		t.Errorf("wrote %s", data)
	}
}

func renewRevoked(t *testing.T, f *fixture) {
	f.lease(t, someID)
	claim := f.claim(t, "boot")
	revoked := f.revoke(t)
	hb := claim.Heartbeat
	hb.Changes = 9
	next, l, err := f.Store.Renew(t.Context(), claim, hb)
	wantSame(t, wantError[*lease.StateError](t, err).State, lease.StateRevoked)
	wantSame(t, l.Revision, revoked.Revision)
	wantSame(t, next, claim)
}

func lapsedIsLost(t *testing.T, f *fixture) {
	claim := f.claim(t, "boot")
	f.Lapse(t, someID)
	_, _, err := f.renew(t, claim)
	wantSame(t, *wantError[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID})
}

func takenOverIsLost(t *testing.T, f *fixture) {
	old := f.claim(t, "boot-1")
	claim := f.claim(t, "boot-2")
	if claim.Heartbeat.Created != old.Heartbeat.Created {
		t.Errorf("created %d, then %d: the key was gone in between", old.Heartbeat.Created, claim.Heartbeat.Created)
	}
	_, _, err := f.renew(t, old)
	wantSame(t, *wantError[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID, By: "boot-2"})
	if _, _, err := f.renew(t, claim); err != nil {
		t.Error(err)
	}
}

func claimAgain(t *testing.T, f *fixture) {
	old := f.claim(t, "boot-1")
	f.Lapse(t, someID)
	claim := f.claim(t, "boot-1")
	if claim.Handle == old.Handle || claim.Heartbeat.Created <= old.Heartbeat.Created {
		t.Errorf("from %+v to %+v", old, claim)
	}
	if _, _, err := f.renew(t, claim); err != nil {
		t.Error(err)
	}
}

func beatUnreadable(t *testing.T, f *fixture) {
	f.registry(t)
	f.Put(t, "lease", someID, []byte(`{not JSON`))
	claim := f.claim(t, "boot")
	again, _, err := f.renew(t, claim)
	wantError[*lease.MalformedError](t, err)
	wantSame(t, again, claim)
	if !f.snapshot(t).Heartbeats[someID].Held {
		t.Error("the heartbeat is not held")
	}
}
