package lease_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapse/lease"
)

const historyMax = 16 // of a record

func TestARevokedLeaseNeverBecomesActive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := must(held().Revoke(drawTime(t, "revoked"), drawCause(t), ada))
		cause, since := l.Cause, l.RevokedAt
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s := drawStep(t)
			from := l
			l, _ = s.do(l)
			switch l.State {
			case lease.StateRevoked:
			case lease.StateEnded, lease.StateUnmanaged:
				if moved := l.State != from.State; moved && s.name != "End" && s.name != "Unmanage" {
					t.Fatalf("%s led from %s to %s", s.name, from.State, l.State)
				}
			default:
				t.Fatalf("%s led from %s to %s", s.name, from.State, l.State)
			}
			if s.name == "RevokeAgain" { // an operator's word for what is revoked already
				cause = l.Cause
			}
			if l.Cause != cause || l.RevokedAt != since {
				t.Fatalf("%s made the revocation %q at %s, which was %q at %s", s.name, l.Cause, l.RevokedAt, cause, since)
			}
			if l.ExpiresAt != from.ExpiresAt {
				t.Fatalf("%s moved the expiry of a revoked lease", s.name)
			}
		}
	})
}

func TestARevokedLeaseIsLeftOnlyByEndOrUnmanage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := must(held().Revoke(drawTime(t, "revoked"), drawCause(t), ada))
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s := drawStep(t, "End", "Unmanage")
			if l, _ = s.do(l); l.State != lease.StateRevoked {
				t.Fatalf("%s led to %s", s.name, l.State)
			}
		}
	})
}

func TestReopenGoesBackToTheStateBeforeTheEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			ended, err := l.End(drawTime(t, "ended"), drawCause(t), jan)
			if err != nil {
				l, _ = drawStep(t, "Unmanage").do(l)
				continue
			}
			back := must(ended.Reopen(drawTime(t, "reopened"), jan))
			if back.State != l.State || back.Cause != l.Cause || back.RevokedAt != l.RevokedAt || back.ExpiresAt != l.ExpiresAt {
				t.Fatalf("from %s to %s", text(t, l), text(t, back))
			}
			l, _ = drawStep(t, "Unmanage").do(back)
		}
	})
}

func TestUnmanagedIsTerminal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l, err := drawLease(t).Unmanage(drawTime(t, "unmanaged"), ada)
		if err != nil {
			return
		}
		s := drawStep(t)
		if got, err := s.do(l); err == nil || !same(got, l) {
			t.Fatalf("%s led to %s", s.name, text(t, got))
		}
		if l.Mark != nil || l.Stuck != "" {
			t.Fatalf("unmanaged as %s", text(t, l))
		}
	})
}

func TestATransitionNeitherAltersNorSharesTheOldLease(t *testing.T) {
	t.Parallel()
	for name, transition := range allowed {
		for _, old := range everyState() {
			checkApart(t, old, step{name, transition.do}, step{name, transition.do})
		}
	}
	rapid.Check(t, func(t *rapid.T) { checkApart(t, drawLease(t), drawStep(t), drawStep(t)) })
}

// checkApart takes a step, and another from the same lease, and then scrambles the first one's result.
func checkApart(t rapid.TB, old lease.Lease, s, other step) {
	// Room behind the slice is where an append would write into the old value.
	old.History = append(make([]lease.Transition, 0, 2*historyMax), old.History...)
	before := text(t, old)
	got, err := s.do(old)
	if text(t, old) != before {
		t.Fatalf("%s altered the old lease", s.name)
	}
	if err != nil || same(got, old) {
		return
	}
	after := text(t, got)
	_, _ = other.do(old)
	if text(t, got) != after {
		t.Fatalf("%s after %s altered the other's result", other.name, s.name)
	}
	scramble(got)
	if text(t, old) != before {
		t.Fatalf("the result of %s shares something with the old lease", s.name)
	}
}

func scramble(l lease.Lease) {
	for k := range l.Labels {
		l.Labels[k] = "scrambled"
	}
	for i := range l.History[:cap(l.History)] {
		l.History[:cap(l.History)][i].Actor = "scrambled"
	}
	if l.Mark != nil {
		l.Mark.Cause = "scrambled"
	}
}

func TestChangesNeverDecreaseAndTheHistoryIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := drawStep(t, "Unmanage")
			from := l
			l, _ = s.do(l)
			told := text(t, l.History) != text(t, from.History)
			switch {
			case l.Changes < from.Changes || l.Changes > from.Changes+1:
				t.Fatalf("%s led from change %d to %d", s.name, from.Changes, l.Changes)
			case told != (l.Changes == from.Changes+1):
				t.Fatalf("%s counted %d changes, and told of it: %t", s.name, l.Changes-from.Changes, told)
			case len(l.History) > historyMax || len(l.History) != min(historyMax, int(l.Changes)):
				t.Fatalf("%d transitions kept of %d", len(l.History), l.Changes)
			}
		}
	})
}

func TestTheHistoryKeepsTheFirstAndTheLastTransitionsOldestFirst(t *testing.T) {
	t.Parallel()
	l := held()
	for i := range 40 {
		l = must(l.Unmark(at(time.Duration(i)*time.Minute), ada))
	}
	for i, entry := range l.Recent() {
		if want := at(time.Duration(40-historyMax+4+i) * time.Minute); !entry.Time.Equal(want) {
			t.Errorf("entry %d is of %s, want %s", i, entry.Time, want)
		}
	}
	if l.Changes != 41 || l.HistoryDropped != 41-historyMax || l.History[0].Action != "bind" {
		t.Errorf("%d changes, %d dropped, the first is %+v", l.Changes, l.HistoryDropped, l.History[0])
	}
}

func TestAMarkMovesOnlyWithItsCause(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			from := l
			s := drawStep(t, "Unmanage")
			l, _ = s.do(l)
			if from.Mark != nil && l.Mark != nil && from.Mark.Cause == l.Mark.Cause && !same(*l.Mark, *from.Mark) {
				t.Fatalf("%s moved %+v to %+v", s.name, *from.Mark, *l.Mark)
			}
		}
	})
}

func TestTimesAreStoredInUTCToTheMillisecond(t *testing.T) {
	t.Parallel()
	now := time.Now().In(time.FixedZone("far", 13*3600)) // with a monotonic reading
	i := instance()
	l := must(lease.Adopt(now, i, now.Add(time.Hour), now.Add(240*time.Hour), "ada", nil, ada).Activate(now, jan))
	l = must(l.Extend(now, lease.Extension{Until: now.Add(24 * time.Hour)}, ada))
	l = must(must(l.WithMark(now, lease.CauseHeartbeatLost, now.Add(time.Hour), jan)).Claimed(now, jan))
	l = must(must(must(l.Revoke(now, lease.CauseExpired, jan)).Try(now)).Absent(now))
	for name, l := range map[string]lease.Lease{
		"revoked": l, "ended": must(l.End(now, "", jan)), "unmanaged": must(l.Unmanage(now, ada)),
	} {
		again, err := lease.Decode[lease.Lease]("lease", "i-1", []byte(text(t, l)))
		if err != nil || !same(again, l) {
			t.Errorf("%s: %v: wrote %s\nand read %s", name, err, text(t, l), text(t, again))
		}
	}
}
