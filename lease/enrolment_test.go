package lease_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

// enrolling is the enrolment of an instance with two keys, of which the second is in use.
type enrolling struct {
	*testing.T
	now time.Time
	e   lease.Enrolment
}

func (t *enrolling) enrol(sha string) error {
	e, err := t.e.Enrol(t.now, noon, lease.EnrolledKey{SHA256: sha, Proof: lease.ProofLaunch, From: "10.0.0.1"})
	if err == nil {
		t.e = e
	}
	return err
}

func (t *enrolling) use(shas ...string) {
	t.Helper()
	for _, sha := range shas {
		e, err := t.e.Use(t.now, sha)
		if err != nil {
			t.Fatal(err)
		}
		t.e = e
	}
}

func (t *enrolling) after(d time.Duration) { t.now = t.now.Add(d) }

func (t *enrolling) keys() string {
	var shas []string
	for _, k := range t.e.Keys {
		shas = append(shas, k.SHA256)
	}
	return strings.Join(shas, " ")
}

func newEnrolling(t *testing.T, keys ...string) *enrolling {
	t.Helper()
	w := &enrolling{T: t, now: noon, e: lease.Enrolment{InstanceID: "i-1"}}
	for _, key := range keys {
		w.after(time.Hour)
		if err := w.enrol(key); err != nil {
			t.Fatal(err)
		}
		w.use(key)
	}
	return w
}

func TestANewerKeyReplacesAnOlder(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a", "b", "c")
	if w.keys() != "a b c" || w.e.InUse != "c" || !w.e.Contested.IsZero() {
		t.Fatalf("after three boots: %+v", w.e)
	}
	w.after(time.Hour)
	if err := w.enrol("d"); err != nil || w.keys() != "b c d" {
		t.Errorf("a fourth: %s, %v", w.keys(), err)
	}
	before := w.e
	if w.use("c"); fmt.Sprint(w.e) != fmt.Sprint(before) {
		t.Errorf("the key that was used last changes something: %+v", w.e)
	}
	if err := w.enrol("d"); err != nil || w.keys() != "b c d" {
		t.Errorf("the same once more: %s, %v", w.keys(), err)
	}
	_, err := w.e.Use(w.now, "a")
	if _, forgotten := errors.AsType[*lease.NotEnrolledError](err); !forgotten {
		t.Errorf("a key that was replaced: %v", err)
	}
}

func TestKeysOneAfterTheOtherPutNoContestOff(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a", "b")
	w.after(20 * time.Second)
	if err := w.enrol("c"); err != nil {
		t.Fatal(err)
	}
	w.use("c")
	w.after(20 * time.Second)
	if w.use("b"); !w.e.Contested.IsZero() {
		t.Error("contested by a call of b that was under way when c was first used")
	}
	if w.use("a"); !w.e.Contested.Equal(w.now) {
		t.Errorf("not contested by a, after which b was first used 40 s ago: %+v", w.e)
	}
}

func TestAnOlderKeyUsedAfterANewerContests(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a", "b")
	if w.use("a"); !w.e.Contested.IsZero() {
		t.Error("contested by a call that was under way")
	}
	w.after(time.Minute)
	if w.use("a"); !w.e.Contested.Equal(w.now) {
		t.Errorf("not contested: %+v", w.e)
	}
	before := w.e
	w.after(time.Minute)
	if w.use("b", "a", "b"); fmt.Sprint(w.e) != fmt.Sprint(before) {
		t.Errorf("each call of a contested one writes: %+v", w.e)
	}
	settled, err := w.e.Settle("a")
	if w.e = settled; err != nil || w.keys() != "a" || !w.e.Contested.IsZero() || w.e.InUse != "a" {
		t.Errorf("settled: %+v, %v", w.e, err)
	}
	if _, err := w.e.Settle("b"); err == nil {
		t.Error("settled for a key that is not enrolled")
	}
}

// TestAWrongClockPutsNoContestOff has one API write that a was followed by b three quarters of an hour from now.
func TestAWrongClockPutsNoContestOff(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a")
	w.after(45 * time.Minute)
	if err := w.enrol("b"); err != nil {
		t.Fatal(err)
	}
	w.use("b")
	w.after(-40 * time.Minute)
	if w.use("a"); !w.e.Contested.Equal(w.now) {
		t.Errorf("not contested: %+v", w.e)
	}
}

func TestADocumentOfAnEarlierStartEnrolsNothing(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a")
	_, err := w.e.Enrol(w.now, noon.Add(-time.Second), lease.EnrolledKey{SHA256: "b"})
	if _, refused := errors.AsType[*lease.UnprovedError](err); !refused {
		t.Errorf("enrolled by a document from before: %v", err)
	}
	if e, err := w.e.Enrol(w.now, noon.Add(time.Hour), lease.EnrolledKey{SHA256: "b"}); err != nil || !e.PendingTime.Equal(noon.Add(time.Hour)) {
		t.Errorf("by a later start: %+v, %v", e, err)
	}
}

// TestTheLastChangeOfAnEnrolmentIsToldOnce writes it down for whoever watches, and takes it back with the next change.
func TestTheLastChangeOfAnEnrolmentIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a")
	check := func(when string, want lease.Action, actor, reason string) {
		t.Helper()
		switch last := w.e.Last; {
		case want == "" && last == nil:
		case want == "" || last == nil || last.Action != want || last.Actor != actor || last.Reason != reason || !last.Time.Equal(w.now):
			t.Errorf("%s: %+v", when, last)
		}
	}
	w.use("a")
	check("in use", "", "", "")
	if err := w.enrol("0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	check("enrolled", lease.ActionEnrol, "instance:"+w.e.InstanceID, "key 0123456789ab, from 10.0.0.1, proved by launch")
	w.use("a") // of before, again
	check("the same key as before", lease.ActionEnrol, "instance:"+w.e.InstanceID, "key 0123456789ab, from 10.0.0.1, proved by launch")
	w.use("0123456789abcdef")
	check("used", "", "", "")
	w.e = w.e.Invite(w.now, "hash", lease.By{Actor: "cli:ada"})
	check("invited", lease.ActionInvite, "cli:ada", "one key may enrol until "+w.now.Add(time.Hour).Format(time.RFC3339))
	settled, err := w.e.Settle("a")
	if err != nil {
		t.Fatal(err)
	}
	w.e = settled
	check("settled", "", "", "")
}

func TestAnInvitationIsForOne(t *testing.T) {
	t.Parallel()
	w := newEnrolling(t, "a")
	w.e = w.e.Invite(w.now, "hash", lease.By{Actor: "cli:ada"})
	if !w.e.Invitation.Until.Equal(w.now.Add(time.Hour)) {
		t.Errorf("invited until %s", w.e.Invitation.Until)
	}
	if err := w.enrol("b"); err != nil || w.e.Invitation == nil {
		t.Error("spent by another proof")
	}
	e, err := w.e.Enrol(w.now, noon, lease.EnrolledKey{SHA256: "c", Proof: lease.ProofInvitation})
	if err != nil || e.Invitation != nil {
		t.Errorf("not spent: %+v, %v", e, err)
	}
}

// TestAThiefNeverDrivesOutTheKeyThatRenews lets somebody enrol and use keys at will, while the instance renews with its own.
func TestAThiefNeverDrivesOutTheKeyThatRenews(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newEnrolling(t, "live")
		thief, last := []string{}, w.now
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0, 1:
				sha := fmt.Sprint("thief ", len(thief))
				if w.enrol(sha) == nil {
					thief = append(thief, sha)
				}
			case 2:
				if len(thief) > 0 {
					sha := rapid.SampledFrom(thief).Draw(rt, "key")
					if e, err := w.e.Use(w.now, sha); err == nil {
						w.e = e
					}
				}
			case 3:
				w.after(time.Duration(rapid.IntRange(1, 900).Draw(rt, "seconds")) * time.Second)
			}
			if w.now.Sub(last) > 14*time.Minute || rapid.Bool().Draw(rt, "renew") {
				last = w.now
				if e, err := w.e.Use(w.now, "live"); err != nil {
					rt.Fatalf("the instance itself is no longer enrolled: %+v", w.e)
				} else {
					w.e = e
				}
			}
			if len(w.e.Keys) > 3 || !slices.ContainsFunc(w.e.Keys, func(k lease.EnrolledKey) bool { return k.SHA256 == "live" }) {
				rt.Fatalf("keys %s", w.keys())
			}
		}
	})
}
