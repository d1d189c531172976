package leasetest

import (
	"errors"
	"time"

	"lapse/lease"
)

func enrolmentCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"an instance without keys has an empty enrolment":    enrolmentEmpty,
		"an enrolment is kept as it was written":             enrolmentKept,
		"of two enrolments at once both are kept":            enrolmentsRace,
		"an enrolment that cannot be read is not replaced":   enrolmentUnreadable,
		"the keys of an instance go with its lease":          enrolmentDeleted,
		"a heartbeat is resumed by the boot that claimed it": resumeOwn,
		"a heartbeat of another boot is not resumed":         resumeOther,
		"an expired heartbeat is not resumed":                resumeExpired,
	}
}

func enrolled(sha string) func(lease.Enrolment) (lease.Enrolment, error) {
	return func(e lease.Enrolment) (lease.Enrolment, error) {
		return e.Enrol(now(), now(), lease.EnrolledKey{SHA256: sha, Proof: lease.ProofLaunch})
	}
}

func enrolmentEmpty(t *fixture) {
	e, err := t.Store.Enrolment(t.Context(), someID)
	if err != nil || e.InstanceID != someID || e.Revision != 0 || len(e.Keys) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

func enrolmentKept(t *fixture) {
	_, written, err := t.Store.UpdateEnrolment(t.Context(), someID, enrolled("a"))
	if err != nil || written.Revision == 0 {
		t.Fatalf("%+v, %v", written, err)
	}
	read, err := t.Store.Enrolment(t.Context(), someID)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, read, written)
	if _, again, err := t.Store.UpdateEnrolment(t.Context(), someID, enrolled("a")); err != nil || again.Revision != written.Revision {
		t.Errorf("written without a change: %+v, %v", again, err)
	}
	refused := errors.New("no")
	_, _, err = t.Store.UpdateEnrolment(t.Context(), someID, func(e lease.Enrolment) (lease.Enrolment, error) { return e, refused })
	if !errors.Is(err, refused) {
		t.Errorf("an error of the change is %v", err)
	}
}

func enrolmentsRace(t *fixture) {
	once := false
	_, after, err := t.Store.UpdateEnrolment(t.Context(), someID, func(e lease.Enrolment) (lease.Enrolment, error) {
		if !once {
			once = true
			if _, _, err := t.Store.UpdateEnrolment(t.Context(), someID, enrolled("b")); err != nil {
				t.Error(err)
			}
		}
		return enrolled("a")(e)
	})
	if err != nil || len(after.Keys) != 2 {
		t.Errorf("%+v, %v", after, err)
	}
}

func enrolmentUnreadable(t *fixture) {
	t.Put(t, "enrolment", someID, []byte(`{not JSON`))
	_, _, err := t.Store.UpdateEnrolment(t.Context(), someID, enrolled("a"))
	wantError[*lease.MalformedError](t, err)
}

func enrolmentDeleted(t *fixture) {
	registry, l := t.registry(), t.lease(someID)
	leader := t.leadership("one")
	for _, id := range []string{someID, "i-0bbb"} {
		if _, _, err := t.Store.UpdateEnrolment(t.Context(), id, enrolled("a")); err != nil {
			t.Fatal(err)
		}
	}
	old := l
	l, err := t.Store.PutLease(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	wantError[*lease.ConflictError](t, leader.DeleteLease(t.Context(), registry, old))
	if t.Get(t, "enrolment", someID) == nil {
		t.Error("deleted by a write that was refused")
	}
	if err := leader.DeleteLease(t.Context(), registry, l); err != nil {
		t.Fatal(err)
	}
	if t.Get(t, "enrolment", someID) != nil || t.Get(t, "enrolment", "i-0bbb") == nil {
		t.Errorf("left %s, and a neighbour's %s", t.Get(t, "enrolment", someID), t.Get(t, "enrolment", "i-0bbb"))
	}
}

func resumeOwn(t *fixture) {
	claim := t.claim("boot")
	resumed, err := t.Store.Resume(t.Context(), someID, "boot")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, resumed, claim)
	wantSame(t, must[lease.Claim](t)(t.Store.Resume(t.Context(), someID, "")), claim)
	hb := claim.Heartbeat
	hb.HeartbeatTimeout = lease.Duration(10 * time.Minute)
	if next, _, err := t.Store.Renew(t.Context(), resumed, hb); err != nil || next.Handle == claim.Handle {
		t.Errorf("renewed as %+v, %v", next, err)
	}
}

func resumeOther(t *fixture) {
	t.claim("boot-2")
	_, err := t.Store.Resume(t.Context(), someID, "boot-1")
	wantSame(t, *errorOf[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID, By: "boot-2"})
}

func resumeExpired(t *fixture) {
	t.claim("boot")
	t.Lapse(t, someID)
	_, err := t.Store.Resume(t.Context(), someID, "boot")
	wantSame(t, *errorOf[*lease.ClaimLostError](t, err), lease.ClaimLostError{ID: someID})
}
