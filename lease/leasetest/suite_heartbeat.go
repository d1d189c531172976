package leasetest

import (
	"time"

	"lapse/lease"
)

func heartbeatCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"an instance without a lease may renew":              heartbeatUnbound,
		"a heartbeat finds its lease as soon as it is bound": heartbeatFindsLease,
		"a renewal tells the lease as it is":                 renewTellsLease,
		"a renewal writes only what is new":                  renewWritesNews,
		"a renewal with another timeout moves the key":       renewMovesHeartbeatTimeout,
		"a claim without a timeout has the default":          claimDefaultHeartbeatTimeout,
		"a claim for a revoked lease is refused":             claimRevoked,
		"a renewal for a revoked lease is refused":           renewRevoked,
		"a claim that lapsed is lost":                        lapsedIsLost,
		"a claim that somebody took over is lost to them":    takenOverIsLost,
		"a lapsed heartbeat can be claimed again":            claimAgain,
		"an unreadable lease keeps nobody from renewing":     heartbeatUnreadable,
	}
}

func (t *fixture) claim(boot string) lease.Claim {
	t.Helper()
	return must[lease.Claim](t)(t.Store.Claim(t.Context(), heartbeatOf(someID, boot)))
}

// renew renews with the claim's own heartbeat.
func (t *fixture) renew(claim lease.Claim) (lease.Claim, lease.Lease, error) {
	t.Helper()
	return t.Store.Renew(t.Context(), claim, claim.Heartbeat)
}

func (t *fixture) revoke() lease.Lease {
	t.Helper()
	_, revoked, err := t.Store.UpdateLease(t.Context(), someID, func(l lease.Lease) (lease.Lease, error) {
		return l.Revoke(now(), lease.CauseRevoke, by())
	})
	if err != nil {
		t.Fatal(err)
	}
	return revoked
}

func heartbeatUnbound(t *fixture) {
	claim := t.claim("boot")
	if claim.Handle == 0 || claim.Revision == 0 || !claim.Heartbeat.Held || claim.Heartbeat.Created != claim.Revision {
		t.Errorf("claim %+v", claim)
	}
	again, l, err := t.renew(claim)
	if err != nil || l.InstanceID != "" {
		t.Errorf("lease %+v, %v", l, err)
	}
	wantSame(t, again, claim)
}

func heartbeatFindsLease(t *fixture) {
	claim := t.claim("boot")
	bound := t.lease(someID)
	_, l, err := t.renew(claim)
	if err != nil || l.Revision != bound.Revision || l.InstanceID != someID {
		t.Errorf("lease %+v, %v", l, err)
	}
}

func renewTellsLease(t *fixture) {
	l := t.lease(someID)
	claim := t.claim("boot")
	extended, err := l.Extend(now(), lease.Extension{Until: now().Add(2 * time.Hour)}, by())
	if err != nil {
		t.Fatal(err)
	}
	must[lease.Lease](t)(t.Store.PutLease(t.Context(), extended))
	_, seen, err := t.renew(claim)
	if err != nil || !seen.ExpiresAt.Equal(now().Add(2*time.Hour)) {
		t.Errorf("lease %+v, %v", seen, err)
	}
}

func renewWritesNews(t *fixture) {
	t.registry()
	t.lease(someID)
	claim := t.claim("boot")
	claim, _, err := t.renew(claim)
	if err != nil {
		t.Fatal(err)
	}
	hb := claim.Heartbeat
	hb.Changes = 5
	next, _, err := t.Store.Renew(t.Context(), claim, hb)
	if err != nil || next.Revision <= claim.Revision || next.Handle != claim.Handle || next.Heartbeat.Changes != 5 {
		t.Errorf("from %+v to %+v, %v", claim, next, err)
	}
	stored := t.snapshot().Heartbeats[someID]
	if stored.Changes != 5 || !stored.Held || stored.Created != claim.Heartbeat.Created {
		t.Errorf("stored %+v", stored)
	}
	if again, _, err := t.Store.Renew(t.Context(), next, hb); err != nil || again.Revision != next.Revision {
		t.Errorf("renewed without news: revision %d over %d, %v", again.Revision, next.Revision, err)
	}
}

func renewMovesHeartbeatTimeout(t *fixture) {
	t.registry()
	t.lease(someID)
	claim := t.claim("boot")
	hb := claim.Heartbeat
	hb.HeartbeatTimeout = lease.Duration(10 * time.Minute)
	next, l, err := t.Store.Renew(t.Context(), claim, hb)
	if err != nil || next.Handle == claim.Handle || next.Heartbeat.HeartbeatTimeout != hb.HeartbeatTimeout || l.InstanceID != someID {
		t.Fatalf("from %+v to %+v, %v", claim, next, err)
	}
	if _, _, err := t.renew(next); err != nil {
		t.Error(err)
	}
	if stored := t.snapshot().Heartbeats[someID]; !stored.Held || stored.HeartbeatTimeout != hb.HeartbeatTimeout || stored.Created != claim.Heartbeat.Created {
		t.Errorf("stored %+v", stored)
	}
	_, _, err = t.renew(claim)
	wantError[*lease.ClaimLostError](t, err)
}

func claimDefaultHeartbeatTimeout(t *fixture) {
	hb := heartbeatOf(someID, "boot")
	hb.HeartbeatTimeout = 0
	claim := must[lease.Claim](t)(t.Store.Claim(t.Context(), hb))
	wantSame(t, claim.Heartbeat.HeartbeatTimeout, lease.Duration(lease.DefaultHeartbeatTimeout))
	if again, _, err := t.Store.Renew(t.Context(), claim, hb); err != nil || again.Handle != claim.Handle {
		t.Errorf("renewed as %+v, %v", again, err)
	}
}

func claimRevoked(t *fixture) {
	t.lease(someID)
	revoked := t.revoke()
	_, err := t.Store.Claim(t.Context(), heartbeatOf(someID, "boot"))
	refusal := errorOf[*lease.StateError](t, err)
	if refusal.State != lease.StateRevoked || refusal.Cause != lease.CauseRevoke || !refusal.Since.Equal(revoked.RevokedAt) {
		t.Errorf("refused with %+v", refusal)
	}
	if data := t.Get(t, "heartbeat", someID); data != nil {
		t.Errorf("wrote %s", data)
	}
}

func renewRevoked(t *fixture) {
	t.lease(someID)
	claim := t.claim("boot")
	revoked := t.revoke()
	hb := claim.Heartbeat
	hb.Changes = 9
	next, l, err := t.Store.Renew(t.Context(), claim, hb)
	wantSame(t, errorOf[*lease.StateError](t, err).State, lease.StateRevoked)
	wantSame(t, l.Revision, revoked.Revision)
	wantSame(t, next, claim)
}

func lapsedIsLost(t *fixture) {
	claim := t.claim("boot")
	t.Lapse(t, someID)
	_, _, err := t.renew(claim)
	wantSame(t, *errorOf[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID})
}

func takenOverIsLost(t *fixture) {
	old := t.claim("boot-1")
	claim := t.claim("boot-2")
	if claim.Heartbeat.Created != old.Heartbeat.Created {
		t.Errorf("created %d, then %d: the key was gone in between", old.Heartbeat.Created, claim.Heartbeat.Created)
	}
	_, _, err := t.renew(old)
	wantSame(t, *errorOf[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID, By: "boot-2"})
	if _, _, err := t.renew(claim); err != nil {
		t.Error(err)
	}
}

func claimAgain(t *fixture) {
	old := t.claim("boot-1")
	t.Lapse(t, someID)
	claim := t.claim("boot-1")
	if claim.Handle == old.Handle || claim.Heartbeat.Created <= old.Heartbeat.Created {
		t.Errorf("from %+v to %+v", old, claim)
	}
	if _, _, err := t.renew(claim); err != nil {
		t.Error(err)
	}
}

func heartbeatUnreadable(t *fixture) {
	t.registry()
	t.Put(t, "lease", someID, []byte(`{not JSON`))
	claim := t.claim("boot")
	again, _, err := t.renew(claim)
	wantError[*lease.MalformedError](t, err)
	wantSame(t, again, claim)
	if !t.snapshot().Heartbeats[someID].Held {
		t.Error("the heartbeat is not held")
	}
}
