package leasetest

import (
	"fmt"

	"lapse/lease"
)

func bindCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"bind creates every lease, more than one transaction holds": bindMany,
		"bind returns an existing lease as it is":                   bindAgain,
		"bind goes on when an open launch was changed":              bindChanged,
		"bind is refused by a closed launch":                        bindClosed,
		"bind of what is there succeeds in a done launch":           bindDone,
		"bind of a new lease is refused by a done launch":           bindNewToDone,
		"bind needs a launch that is stored":                        bindNoLaunch,
		"bind returns an error for a lease that it cannot read":     bindUnreadable,
	}
}

func several(n int) []lease.Lease {
	list := make([]lease.Lease, n)
	for i := range list {
		list[i] = activeLease(fmt.Sprintf("i-%04d", i))
	}
	return list
}

// settle writes the launch done or closed.
func (t *fixture) settle(l lease.Launch, state lease.LaunchState) lease.Launch {
	t.Helper()
	_, after, err := t.Store.UpdateLaunch(t.Context(), l.Token, func(l lease.Launch) (lease.Launch, error) {
		if state == lease.LaunchDone {
			return l.Done(now())
		}
		return l.Close(now(), "window over")
	})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func bindMany(t *fixture) {
	const n = 300
	wanted := several(n)
	bound := must[[]lease.Lease](t)(t.Store.Bind(t.Context(), t.launch(someToken), wanted))
	if len(bound) != n {
		t.Fatalf("bound %d of %d", len(bound), n)
	}
	for i, l := range bound {
		if l.InstanceID != wanted[i].InstanceID || l.Revision == 0 {
			t.Fatalf("number %d is %+v", i, l)
		}
	}
	stored := must[lease.Lease](t)(t.Store.Lease(t.Context(), wanted[n-1].InstanceID))
	wantSame(t, stored.Revision, bound[n-1].Revision)
}

func bindAgain(t *fixture) {
	ctx := t.Context()
	launch, wanted := t.launch(someToken), several(3)
	there := must[lease.Lease](t)(t.Store.PutLease(ctx, wanted[1]))
	revoked, err := there.Revoke(now(), lease.CauseRelease, by())
	if err != nil {
		t.Fatal(err)
	}
	revoked = must[lease.Lease](t)(t.Store.PutLease(ctx, revoked))
	bound := must[[]lease.Lease](t)(t.Store.Bind(ctx, launch, wanted))
	wantSame(t, bound[1], must[lease.Lease](t)(t.Store.Lease(ctx, wanted[1].InstanceID)))
	wantSame(t, bound[1].Revision, revoked.Revision)
	for _, i := range []int{0, 2} {
		if bound[i].State != lease.StateActive || bound[i].Revision == 0 {
			t.Errorf("number %d is %+v", i, bound[i])
		}
	}
}

func bindChanged(t *fixture) {
	launch := t.launch(someToken)
	changed := launch.Launched([]string{someID})
	must[lease.Launch](t)(t.Store.PutLaunch(t.Context(), changed))
	bound := must[[]lease.Lease](t)(t.Store.Bind(t.Context(), launch, several(2)))
	if len(bound) != 2 {
		t.Errorf("bound %v", bound)
	}
}

func bindClosed(t *fixture) {
	launch := t.launch(someToken)
	closed := t.settle(launch, lease.LaunchClosed)
	for _, known := range []lease.Launch{launch, closed} {
		_, err := t.Store.Bind(t.Context(), known, several(2))
		refusal := errorOf[*lease.LaunchStateError](t, err)
		if refusal.State != lease.LaunchClosed || refusal.Reason != "window over" || refusal.Token != someToken {
			t.Errorf("refused with %+v", refusal)
		}
	}
	_, err := t.Store.Lease(t.Context(), several(1)[0].InstanceID)
	wantNotFound(t, err, "lease")
}

func bindDone(t *fixture) {
	launch := t.launch(someToken)
	first := must[[]lease.Lease](t)(t.Store.Bind(t.Context(), launch, several(2)))
	done := t.settle(launch, lease.LaunchDone)
	for _, known := range []lease.Launch{launch, done} {
		again := must[[]lease.Lease](t)(t.Store.Bind(t.Context(), known, several(2)))
		for i := range again {
			wantSame(t, again[i].Revision, first[i].Revision)
		}
	}
}

func bindNewToDone(t *fixture) {
	done := t.settle(t.launch(someToken), lease.LaunchDone)
	_, err := t.Store.Bind(t.Context(), done, several(1))
	wantError[*lease.LaunchStateError](t, err)
}

func bindNoLaunch(t *fixture) {
	_, err := t.Store.Bind(t.Context(), openLaunch(someToken), several(1))
	wantNotFound(t, err, "launch")
	_, err = t.Store.Lease(t.Context(), several(1)[0].InstanceID)
	wantNotFound(t, err, "lease")
}

func bindUnreadable(t *fixture) {
	launch, wanted := t.launch(someToken), several(2)
	t.Put(t, "lease", wanted[1].InstanceID, []byte(`{not JSON`))
	_, err := t.Store.Bind(t.Context(), launch, wanted)
	wantError[*lease.MalformedError](t, err)
}
