package plan_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"lapse/lease"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
)

// TestAnInstanceThatOutlivesItsLeaseIsOverdue has each reason twice: as the janitor decides with all that it sees, and as the
// registry tells it, to whoever has no AWS credentials, once the janitor has noted what is to be noted.
func TestAnInstanceThatOutlivesItsLeaseIsOverdue(t *testing.T) {
	t.Parallel()
	byRelease := Revoked(lease.CauseRelease, 10*time.Minute)
	refused := WithLease(func(l *lease.Lease) {
		l.Stuck, l.KeptReason, l.Tries, l.TriedAt = "EC2 refuses: OperationNotPermitted", lease.KeptStuck, 1, Noon
	})
	tried := WithLease(func(l *lease.Lease) { l.Tries, l.TriedAt = 1, Noon })
	adopting := WithLease(func(l *lease.Lease) { l.State, l.ClientToken, l.Launch = lease.StateAdopting, "", "" })
	elsewhere := func(s *Subject) { s.Lease.Region, s.Instance = There.Region, nil }
	unable := func(why lease.KeptReason) func(*World) {
		return func(v *World) { v.Leadership.Unable = why }
	}
	mode := func(m lease.Mode) func(*World) {
		return func(v *World) { v.Snapshot.Registry.Mode = m }
	}
	late := Over(10 * time.Minute)
	for name, c := range map[string]struct {
		subject Subject
		change  func(*World)
		want    lease.KeptReason
	}{
		"its lease is valid":                           {Holds("i-1"), nil, ""},
		"being terminated":                             {Holds("i-1", Over(time.Minute)), nil, ""},
		"its registry tag is gone":                     {Holds("i-1", Over(0), Foreign), nil, lease.KeptByRegistry},
		"exempt":                                       {Holds("i-1", Over(0), Exempt), nil, lease.KeptByExempt},
		"not what its lease is bound to":               {Holds("i-1", Over(0), Unbound), nil, lease.KeptByLaunch},
		"its tag has not passed":                       {Holds("i-1", late, tagSays("")), nil, lease.KeptByTag},
		"its tag has not passed, just now":             {Holds("i-1", Over(time.Minute), tagSays("")), nil, ""},
		"exempt, and under notice for another reason":  {Holds("i-1", Over(0), Exempt, Marked(lease.CauseHeartbeatLost, In(time.Minute))), nil, lease.KeptByExempt},
		"released, and exempt":                         {Holds("i-1", byRelease, Exempt), nil, lease.KeptByExempt},
		"released, and its registry tag is gone":       {Holds("i-1", byRelease, Foreign), nil, lease.KeptByRegistry},
		"released, and another instance":               {Holds("i-1", byRelease, Unbound), nil, lease.KeptByLaunch},
		"revoked for its date, and the tag is gone":    {Holds("i-1", late, Revoked(lease.CauseExpired, time.Minute), tagSays("")), nil, lease.KeptByTag},
		"revoked, and the tag is newer":                {Holds("i-1", byRelease, tagAt(-time.Hour, 7)), nil, lease.KeptByTag},
		"a failed creation, and leased by its tag":     {Holds("i-1", Revoked(lease.CauseFailedCreation, time.Minute), leasedAs("launch-of-i-1.1")), nil, lease.KeptByTag},
		"EC2 refuses":                                  {Holds("i-1", byRelease, refused), nil, lease.KeptStuck},
		"shutting down for long":                       {Holds("i-1", byRelease, tried, Is(lease.InstanceShuttingDown)), nil, lease.KeptUnconfirmed},
		"EC2 has given no answer for long":             {Holds("i-1", byRelease, tried), nil, lease.KeptUnconfirmed},
		"EC2 does not know it":                         {Holds("i-1", late, Absent), nil, lease.KeptUnseen},
		"released, and EC2 does not know it":           {Holds("i-1", byRelease, Absent), nil, lease.KeptUnseen},
		"its location is not swept":                    {Holds("i-1", late, elsewhere), nil, lease.KeptUnswept},
		"its location cannot be listed":                {Holds("i-1", late, Missing), Unlisted, lease.KeptBraked},
		"the clock is wrong":                           {Holds("i-1", late), Skewed(time.Minute), lease.KeptBraked},
		"released, and the clock is wrong":             {Holds("i-1", byRelease), Skewed(time.Minute), lease.KeptBraked},
		"its notice has passed, and etcd is not well":  {Holds("i-1", Due, Marked(lease.CauseHeartbeatLost, Ago(10*time.Minute))), Ill, lease.KeptBraked},
		"its notice has passed, and it has no witness": {Holds("i-1", Lost(20*time.Minute), Alone, Marked(lease.CauseHeartbeatLost, Ago(10*time.Minute))), nil, ""},
		"the audit log cannot be written":              {Holds("i-1", late), unable(lease.KeptByAudit), lease.KeptByAudit},
		"nothing can be remembered":                    {Holds("i-1", late), unable(lease.KeptByState), lease.KeptByState},
		"adopted, and its tag was not seen":            {Holds("i-1", late, adopting, Foreign), nil, lease.KeptAdopting},
		"the registry is paused":                       {Holds("i-1", late), mode(lease.ModePaused), lease.KeptByPause},
		"the registry observes":                        {Holds("i-1", late), mode(lease.ModeObserve), lease.KeptByObserving},
		"its turn has not come":                        {Holds("i-1", late), nil, lease.KeptWaiting},
	} {
		v := WorldOf(c.subject)
		if c.change != nil {
			c.change(&v)
		}
		planned := Decide(v)
		verdict := planned.Verdicts[slices.IndexFunc(planned.Verdicts, func(v plan.Verdict) bool { return v.InstanceID == "i-1" })]
		if got := verdict.Overdue.Reason; got != c.want {
			t.Errorf("%s: the janitor says %q, want %q", name, got, c.want)
		}
		if n := planned.Census(v.View().Joined, v.Locations).Overdue[c.want]; c.want != "" && n != 1 {
			t.Errorf("%s: the census counts %d of reason %s", name, n, c.want)
		}

		l, err := onRecord(verdict)
		if err != nil {
			t.Fatal(err)
		}
		s := v.Snapshot
		s.Checkpoint.Time, s.Checkpoint.NextSweep, s.Checkpoint.Brakes, s.Checkpoint.Unable, s.Checkpoint.Locations = Noon, Noon, planned.Brakes, v.Leadership.Unable, nil
		for _, p := range v.Locations {
			if p.Listed() {
				s.Checkpoint.Locations = append(s.Checkpoint.Locations, p.Location)
			}
		}
		if got := s.Circumstances(Noon).Overdue(&l, nil); got.Reason != c.want {
			t.Errorf("%s: the registry says %q, want %q", name, got.Reason, c.want)
		}
	}
}

// onRecord is the lease once the janitor has noted what keeps it.
func onRecord(v plan.Verdict) (lease.Lease, error) {
	switch v.Action {
	case plan.ActKeep:
		return v.Lease.Keep(Noon, v.Kept, Jan)
	case plan.ActStuck:
		return v.Lease.StuckBecause(Noon, v.Kept, "", v.Reason, Jan)
	case plan.ActNoteTag:
		return v.Lease.NoteTag(Noon, v.Tag, Jan)
	case plan.ActNoteAbsent:
		return v.Lease.Absent(Noon)
	default:
		return *v.Lease, nil
	}
}

// TestANotedReasonIsNotWrittenAgain keeps an idle sweep from writing: what keeps an instance does so for weeks.
func TestANotedReasonIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Subject{
		"exempt":                 Holds("i-1", Over(time.Hour), Exempt),
		"untagged":               Holds("i-1", Over(time.Hour), Foreign),
		"unbound":                Holds("i-1", Over(time.Hour), Unbound),
		"tag":                    Holds("i-1", Over(time.Hour), tagSays("")),
		"released, and exempt":   Holds("i-1", Revoked(lease.CauseRelease, time.Hour), Exempt),
		"revoked, and no tag":    Holds("i-1", Over(time.Hour), Revoked(lease.CauseExpired, time.Hour), tagSays("")),
		"revoked, and a newer":   Holds("i-1", Revoked(lease.CauseRelease, time.Hour), tagAt(-time.Hour, 7)),
		"a leased failed launch": Holds("i-1", Revoked(lease.CauseFailedCreation, time.Hour), leasedAs("launch-of-i-1.1")),
	} {
		_, first := RulingOn(t, WorldOf(s), "i-1")
		l, err := onRecord(first)
		if err != nil || first.Action == plan.ActReport {
			t.Fatalf("%s: ruled %s, %v", name, first.Action, err)
		}
		s.Lease = &l
		if got, _ := RulingOn(t, WorldOf(s), "i-1"); got.Action != plan.ActReport {
			t.Errorf("%s: on record, and ruled %s", name, got.Action)
		}
	}
}

// TestAnUnreadableRecordIsOverdueByItsTag has nothing else to go by.
func TestAnUnreadableRecordIsOverdueByItsTag(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]lease.KeptReason{
		"2026-03-01T11:00:00Z": lease.KeptUnreadable, "2026-03-01T11:58:00Z": "", "2026-03-01T13:00:00Z": "", "none": "", "": "",
	} {
		v := WorldOf(Holds("i-1", Bare, tagSays(tag)))
		v.Snapshot.Bad = []lease.BadRecord{{Kind: plan.BadLease, ID: "i-1", Err: errors.New("not JSON")}}
		if _, verdict := RulingOn(t, v, "i-1"); verdict.Overdue.Reason != want {
			t.Errorf("tag %q: %q, want %q", tag, verdict.Overdue.Reason, want)
		}
	}
}

// TestAKeptInstanceIsJudgedAgainOnceItIsOverdue lets a metric say so however long the schedule pauses.
func TestAKeptInstanceIsJudgedAgainOnceItIsOverdue(t *testing.T) {
	t.Parallel()
	v := WorldOf(Holds("i-1", Over(time.Minute)))
	Skewed(time.Minute)(&v)
	if next := Decide(v).Next; !next.Equal(In(4 * time.Minute)) {
		t.Errorf("next at %s", next)
	}
}
