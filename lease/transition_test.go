package lease_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"lapse/lease"
)

// allowed has, for each transition, the state to which it leads from each state. From any other it is refused.
var allowed = map[string]struct {
	verb string // as the refusal names it
	do   func(lease.Lease) (lease.Lease, error)
	to   map[string]lease.State
}{
	"Extend": {
		"extend",
		func(l lease.Lease) (lease.Lease, error) {
			return l.Extend(at(3*time.Hour), lease.Extension{Until: at(48 * time.Hour)}, ada)
		},
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"ExtendSelf": {
		"extend",
		func(l lease.Lease) (lease.Lease, error) {
			return l.ExtendSelf(at(3*time.Hour), at(48*time.Hour), lease.ExtendRequest{Until: at(48 * time.Hour), Strict: true}, ada)
		},
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"Unmark": {
		"unmark",
		func(l lease.Lease) (lease.Lease, error) { return l.Unmark(at(3*time.Hour), ada) },
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"WithMark": {
		"mark",
		func(l lease.Lease) (lease.Lease, error) {
			return l.WithMark(at(3*time.Hour), lease.CauseExpired, at(4*time.Hour), jan)
		},
		map[string]lease.State{"active": lease.StateActive, "active with a mark": lease.StateActive},
	},
	"WithoutMark": {
		"unmark",
		func(l lease.Lease) (lease.Lease, error) { return l.WithoutMark(at(3*time.Hour), jan) },
		map[string]lease.State{"active": lease.StateActive, "active with a mark": lease.StateActive},
	},
	"Claimed": {
		"claim",
		func(l lease.Lease) (lease.Lease, error) { return l.Claimed(at(3*time.Hour), jan) },
		map[string]lease.State{"active": lease.StateActive, "active with a mark": lease.StateActive},
	},
	"Contest": {
		"contest",
		func(l lease.Lease) (lease.Lease, error) { return l.Contest(at(3*time.Hour), ada) },
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"Vouch": {
		"vouch for",
		func(l lease.Lease) (lease.Lease, error) { return l.Vouch(at(3*time.Hour), ada) },
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"Settled": {
		"settle",
		func(l lease.Lease) (lease.Lease, error) { return l.Settled(at(3*time.Hour), ada) },
		map[string]lease.State{
			"adopting": lease.StateAdopting, "active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"Revoke": {
		"revoke",
		func(l lease.Lease) (lease.Lease, error) { return l.Revoke(at(3*time.Hour), lease.CauseRevoke, ada) },
		map[string]lease.State{"active": lease.StateRevoked, "active with a mark": lease.StateRevoked},
	},
	"Try": {
		"terminate",
		func(l lease.Lease) (lease.Lease, error) { return l.Try(at(3 * time.Hour)) },
		map[string]lease.State{"revoked": lease.StateRevoked, "revoked for its date": lease.StateRevoked, "revoked with a mark": lease.StateRevoked},
	},
	"Seen": {
		"note as seen",
		func(l lease.Lease) (lease.Lease, error) { return l.Seen() },
		map[string]lease.State{
			"revoked": lease.StateRevoked, "revoked for its date": lease.StateRevoked, "revoked with a mark": lease.StateRevoked,
			"active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"StuckBecause": {
		"note as stuck",
		func(l lease.Lease) (lease.Lease, error) {
			return l.StuckBecause(at(3*time.Hour), lease.KeptStuck, "", "protected", jan)
		},
		map[string]lease.State{"revoked": lease.StateRevoked, "revoked for its date": lease.StateRevoked, "revoked with a mark": lease.StateRevoked},
	},
	"Absent": {
		"note as absent",
		func(l lease.Lease) (lease.Lease, error) { return l.Absent(at(3 * time.Hour)) },
		map[string]lease.State{
			"revoked": lease.StateRevoked, "revoked for its date": lease.StateRevoked, "revoked with a mark": lease.StateRevoked,
			"active": lease.StateActive, "active with a mark": lease.StateActive,
		},
	},
	"End": {
		"end",
		func(l lease.Lease) (lease.Lease, error) { return l.End(at(3*time.Hour), lease.CauseGone, jan) },
		map[string]lease.State{
			"adopting": lease.StateEnded, "active": lease.StateEnded, "active with a mark": lease.StateEnded,
			"revoked": lease.StateEnded, "revoked for its date": lease.StateEnded, "revoked with a mark": lease.StateEnded,
		},
	},
	"Reopen": {
		"reopen",
		func(l lease.Lease) (lease.Lease, error) { return l.Reopen(at(3*time.Hour), jan) },
		map[string]lease.State{"ended from active": lease.StateActive, "ended from revoked": lease.StateRevoked},
	},
	"Activate": {
		"activate",
		func(l lease.Lease) (lease.Lease, error) { return l.Activate(at(3*time.Hour), jan) },
		map[string]lease.State{"adopting": lease.StateActive},
	},
	"Unmanage": {
		"unmanage",
		func(l lease.Lease) (lease.Lease, error) { return l.Unmanage(at(3*time.Hour), ada) },
		map[string]lease.State{
			"adopting": lease.StateUnmanaged, "active": lease.StateUnmanaged, "active with a mark": lease.StateUnmanaged,
			"revoked": lease.StateUnmanaged, "revoked for its date": lease.StateUnmanaged, "revoked with a mark": lease.StateUnmanaged,
		},
	},
	"Raise": {
		"raise",
		func(l lease.Lease) (lease.Lease, error) {
			return l.Raise(at(3*time.Hour), lease.Expiry{At: at(48 * time.Hour), Number: 7}, jan)
		},
		map[string]lease.State{"active": lease.StateActive, "active with a mark": lease.StateActive},
	},
	"Keep": {
		"note as kept",
		func(l lease.Lease) (lease.Lease, error) { return l.Keep(at(3*time.Hour), lease.KeptByTag, jan) },
		map[string]lease.State{"active": lease.StateActive, "active with a mark": lease.StateActive},
	},
	"NoteTag": {
		"note the tag of",
		func(l lease.Lease) (lease.Lease, error) {
			return l.NoteTag(at(3*time.Hour), lease.Expiry{At: at(48 * time.Hour), Number: 7}, jan)
		},
		map[string]lease.State{
			"revoked": lease.StateRevoked, "revoked for its date": lease.StateRevoked, "revoked with a mark": lease.StateRevoked,
		},
	},
	"RevokeAgain": {
		"revoke",
		func(l lease.Lease) (lease.Lease, error) { return l.RevokeAgain(at(3*time.Hour), ada) },
		map[string]lease.State{"revoked for its date": lease.StateRevoked},
	},
}

func TestEveryTransitionIsInTheTable(t *testing.T) {
	t.Parallel()
	typ := reflect.TypeFor[lease.Lease]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		transition := m.Type.NumOut() == 2 && m.Type.Out(0) == typ
		if _, listed := allowed[m.Name]; transition && !listed {
			t.Errorf("%s is not in the table", m.Name)
		}
	}
}

func TestEachTransitionFromEachStateIsAllowedOrRefusedWithFacts(t *testing.T) {
	t.Parallel()
	for name, transition := range allowed {
		for from, l := range everyState() {
			t.Run(name+" from "+from, func(t *testing.T) {
				t.Parallel()
				before := text(t, l)
				got, err := transition.do(l)
				if to, ok := transition.to[from]; ok {
					if err != nil || got.State != to {
						t.Errorf("leads to %q, %v; want %q", got.State, err, to)
					}
					return
				}
				since := map[lease.State]time.Time{
					lease.StateAdopting: l.GrantedAt, lease.StateActive: l.GrantedAt, lease.StateRevoked: l.RevokedAt,
					lease.StateEnded: l.EndedAt, lease.StateUnmanaged: l.EndedAt,
				}[l.State]
				want := &lease.StateError{ID: "i-1", Verb: transition.verb, State: l.State, Cause: l.Cause, Since: since}
				var refusal *lease.StateError
				if !errors.As(err, &refusal) || *refusal != *want || refusal.Since.IsZero() {
					t.Errorf("refused with %#v, want %#v", err, want)
				}
				if text(t, got) != before {
					t.Errorf("a refused transition changed the lease to %s", text(t, got))
				}
			})
		}
	}
}

func TestATransitionIsWrittenIntoTheHistoryWithWhoAndWhy(t *testing.T) {
	t.Parallel()
	actions := map[string]lease.Action{
		"Extend": "extend", "Unmark": "unmark", "WithMark": "mark", "WithoutMark": "unmark", "Claimed": "claim",
		"Revoke": "revoke", "StuckBecause": "stuck", "End": "end", "Reopen": "reopen", "Activate": "activate",
		"Unmanage": "unmanage", "Raise": "raise", "Keep": "keep", "NoteTag": "note-tag", "RevokeAgain": "revoke",
	}
	for name, action := range actions {
		for from := range allowed[name].to {
			old := everyState()[from]
			if name == "WithoutMark" && old.Mark == nil {
				continue
			}
			l := must(allowed[name].do(old))
			last := l.History[len(l.History)-1]
			if last.Action != action || last.Actor == "" || !last.Time.Equal(at(3*time.Hour)) || l.Changes != old.Changes+1 {
				t.Errorf("%s from %s: history ends with %+v after %d changes", name, from, last, l.Changes-old.Changes)
			}
		}
	}
	if first := held().History[0]; first.Action != "bind" || first.Actor != ada.Actor || first.Reason != ada.Reason {
		t.Errorf("history starts with %+v", first)
	}
}

func TestAMarkIsKeptNotMoved(t *testing.T) {
	t.Parallel()
	l := marked()
	again := must(l.WithMark(at(90*time.Minute), lease.CauseHeartbeatLost, at(5*time.Hour), jan))
	if !same(again, l) {
		t.Errorf("finding the same cause again changed the lease to %s", text(t, again))
	}
	other := must(l.WithMark(at(90*time.Minute), lease.CauseExpired, at(5*time.Hour), jan))
	want := lease.Mark{Cause: lease.CauseExpired, Since: at(90 * time.Minute), Deadline: at(5 * time.Hour)}
	if !same(*other.Mark, want) {
		t.Errorf("another cause made the mark %+v, want %+v", *other.Mark, want)
	}
	if !same(*l.Mark, lease.Mark{Cause: lease.CauseHeartbeatLost, Since: at(time.Hour), Deadline: at(2 * time.Hour)}) {
		t.Errorf("the old lease's mark became %+v", *l.Mark)
	}
}

func TestAMarkIsCancelled(t *testing.T) {
	t.Parallel()
	l := must(marked().WithoutMark(at(90*time.Minute), jan))
	if l.Mark != nil || !l.CuredAt.IsZero() {
		t.Errorf("after unmark: mark %v, cured at %s", l.Mark, l.CuredAt)
	}
	if again := must(l.WithoutMark(at(2*time.Hour), jan)); !same(again, l) {
		t.Errorf("taking back no mark changed the lease to %s", text(t, again))
	}
	unmarked := must(marked().Unmark(at(90*time.Minute), ada))
	if unmarked.Mark != nil || !unmarked.CuredAt.Equal(at(90*time.Minute)) {
		t.Errorf("after unmark: mark %v, cured at %s", unmarked.Mark, unmarked.CuredAt)
	}
	fresh := must(held().Unmark(at(90*time.Minute), ada))
	if !fresh.CuredAt.Equal(at(90 * time.Minute)) {
		t.Errorf("a unmark without a mark restarts the heartbeat timer at %s", fresh.CuredAt)
	}
}

func TestTheFirstClaimIsKept(t *testing.T) {
	t.Parallel()
	l := must(held().Claimed(at(time.Minute), jan))
	if !l.ClaimedAt.Equal(at(time.Minute)) {
		t.Errorf("claimed at %s", l.ClaimedAt)
	}
	if again := must(l.Claimed(at(time.Hour), jan)); !same(again, l) {
		t.Errorf("a second claim changed the lease to %s", text(t, again))
	}
}

func TestRevocationKeepsItsCauseAndMark(t *testing.T) {
	t.Parallel()
	l := must(marked().Revoke(at(2*time.Hour), lease.CauseRevoke, ada))
	if l.Cause != lease.CauseRevoke || !l.RevokedAt.Equal(at(2*time.Hour)) || l.Mark == nil {
		t.Errorf("revoked as %q at %s with mark %v", l.Cause, l.RevokedAt, l.Mark)
	}
	l = must(l.End(at(3*time.Hour), lease.CauseGone, jan))
	if l.Cause != lease.CauseRevoke || !l.EndedAt.Equal(at(3*time.Hour)) || l.Mark != nil {
		t.Errorf("ended as %q at %s with mark %v", l.Cause, l.EndedAt, l.Mark)
	}
}

func TestAttemptsToTerminateAreCountedAndAbsenceIsRecordedOnce(t *testing.T) {
	t.Parallel()
	l := must(revoked().Absent(at(2 * time.Hour)))
	if again := must(l.Absent(at(3 * time.Hour))); !again.AbsentSince.Equal(at(2 * time.Hour)) {
		t.Errorf("absent since %s", again.AbsentSince)
	}
	if again := must(l.Absent(at(time.Hour))); !again.AbsentSince.Equal(at(time.Hour)) {
		t.Errorf("absent since %s, which has yet to come", again.AbsentSince)
	}
	l = must(l.Try(at(3 * time.Hour)))
	l = must(l.Try(at(4 * time.Hour)))
	if l.Tries != 2 || !l.TriedAt.Equal(at(4*time.Hour)) || !l.AbsentSince.IsZero() {
		t.Errorf("%d tries, the last at %s, absent since %s", l.Tries, l.TriedAt, l.AbsentSince)
	}
}

func TestAStuckLeaseSaysWhyAndAnEmptyReasonClearsIt(t *testing.T) {
	t.Parallel()
	l := must(revoked().StuckBecause(at(2*time.Hour), lease.KeptStuck, "", "protected", jan))
	if last := l.History[len(l.History)-1]; l.Stuck != "protected" || last.Reason != "protected" || last.Actor != jan.Actor {
		t.Errorf("stuck as %q, history %+v", l.Stuck, last)
	}
	if again := must(l.StuckBecause(at(3*time.Hour), lease.KeptStuck, "", "protected", jan)); !same(again, l) {
		t.Errorf("the same reason again changed the lease to %s", text(t, again))
	}
	if freed := must(l.StuckBecause(at(3*time.Hour), "", "", "", jan)); freed.Stuck != "" {
		t.Errorf("still stuck as %q", freed.Stuck)
	}
	for name, l := range map[string]lease.Lease{
		"ended": must(l.End(at(3*time.Hour), "", jan)), "unmanaged": must(l.Unmanage(at(3*time.Hour), ada)),
	} {
		if l.Stuck != "" {
			t.Errorf("%s, and still stuck as %q", name, l.Stuck)
		}
	}
}

func TestAnEndedLeaseGoesBackToWhereItCameFrom(t *testing.T) {
	t.Parallel()
	l := must(held().End(at(time.Hour), lease.CauseGone, jan))
	if l.Cause != lease.CauseGone {
		t.Errorf("an active lease ended as %q", l.Cause)
	}
	l = must(l.Reopen(at(2*time.Hour), jan))
	if l.State != lease.StateActive || l.Cause != "" || !l.EndedAt.IsZero() || !l.RevokedAt.IsZero() || l.Mark != nil {
		t.Errorf("reopened as %s", text(t, l))
	}

	l = must(must(revoked().Absent(at(90*time.Minute))).End(at(2*time.Hour), lease.CauseGone, jan))
	l = must(l.Reopen(at(3*time.Hour), jan))
	if l.State != lease.StateRevoked || l.Cause != lease.CauseRelease || !l.RevokedAt.Equal(at(time.Hour)) ||
		!l.EndedAt.IsZero() || !l.AbsentSince.IsZero() {
		t.Errorf("reopened as %s", text(t, l))
	}
}

func TestActivationRestartsTheHeartbeatTimer(t *testing.T) {
	t.Parallel()
	if l := must(adopting().Activate(at(time.Hour), jan)); !l.CuredAt.Equal(at(time.Hour)) {
		t.Errorf("the loss counts from %s", l.CuredAt)
	}
}
