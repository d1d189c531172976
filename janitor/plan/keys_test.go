package plan_test

import (
	"strconv"
	"testing"
	"time"

	"lapse/janitor/plan"
	. "lapse/janitor/plan/plantest"
	"lapse/lease"
)

// Changes of a subject's two keys.

func tagSays(value string) func(*Subject) {
	return func(s *Subject) { s.Instance.Tags[lease.TagExpires] = value }
}

func tagAt(d time.Duration, number int64) func(*Subject) {
	return tagSays(lease.Expiry{At: Ago(d), Number: number}.String())
}

func numbered(n, shortened int64) func(*Subject) {
	return WithLease(func(l *lease.Lease) { l.ExpiresNumber, l.ShortenedAt = n, shortened })
}

func keptBy(why lease.KeptReason, d time.Duration) func(*Subject) {
	return WithLease(func(l *lease.Lease) { l.KeptSince, l.KeptReason = Ago(d), why })
}

func leasedAs(value string) func(*Subject) {
	return func(s *Subject) { s.Instance.Tags[lease.TagLeased] = value }
}

func TestATerminationForADateNeedsBothKeysPassed(t *testing.T) {
	t.Parallel()
	over, raised := Over(time.Minute), Ruling{Action: plan.ActRaise}
	check(t, []spec{
		{"both passed", Holds("i-1", over), nil, end},
		{"the tag a later date of the same number: the record is behind", Holds("i-1", over, tagAt(-time.Hour, 1)), nil, raised},
		{"the tag a later date, and a higher number", Holds("i-1", over, tagAt(-time.Hour, 2)), nil, raised},
		{"the tag passed, and a higher number: the record is behind all the same", Holds("i-1", over, tagAt(time.Hour, 2)), nil, raised},
		{"the tag says none", Holds("i-1", over, tagSays("none 7")), nil, raised},
		{"the record shortened by a person, the tag not yet", Holds("i-1", over, numbered(3, 3), tagAt(-time.Hour, 2)), nil, noted},
		{"the record's number higher, and nobody shortened", Holds("i-1", over, numbered(3, 0), tagAt(-time.Hour, 2)), nil, raised},
		{"shortened before the tag was written", Holds("i-1", over, numbered(3, 2), tagAt(-time.Hour, 2)), nil, raised},
		{"no tag", Holds("i-1", over, tagSays("")), nil, noted},
		{"a malformed tag", Holds("i-1", over, tagSays("2026-03-01T11:00:00+00:00 1")), nil, noted},
		{"a number that no tag may have", Holds("i-1", over, tagSays("2026-03-01T11:00:00Z 999000001")), nil, noted},
		{"the tag within the grace", Holds("i-1", over, numbered(2, 2), tagAt(time.Second, 1)), with(func(v *World) { v.Policy.TermGrace = 10 * time.Second }), noted},
		{"kept by its tag, on record", Holds("i-1", over, tagSays(""), keptBy(lease.KeptByTag, 50*time.Second)), nil, report},
		{"kept by its tag, which has passed now: notice first", Holds("i-1", over, keptBy(lease.KeptByTag, 50*time.Second)), nil, notice},
		{"exempt until now: notice first", Holds("i-1", over, keptBy(lease.KeptByExempt, 50*time.Second)), nil, notice},
		{"kept, and its notice has passed", Holds("i-1", over, keptBy(lease.KeptByExempt, time.Hour), Marked(lease.CauseExpired, Noon)), nil, end},
		{"marked, and exempt since", Holds("i-1", over, keptBy(lease.KeptByExempt, time.Hour), Marked(lease.CauseExpired, Noon), Exempt), nil, noted},
		{"a valid lease, and the tag behind", Holds("i-1", numbered(2, 0), tagAt(time.Hour, 1)), nil, keep},
	})
}

func TestARecordBehindItsTagTerminatesNothingForAnyCause(t *testing.T) {
	t.Parallel()
	ahead := tagAt(-time.Hour, 7)
	noteTag := Ruling{Action: plan.ActNoteTag}
	gone := func(cause lease.Cause) Ruling { return Ruling{Action: plan.ActTerminate, Cause: cause} }
	for _, cause := range []lease.Cause{lease.CauseRelease, lease.CauseRevoke, lease.CauseHeartbeatLost, lease.CauseNoHeartbeat} {
		check(t, []spec{
			{string(cause) + ", the keys agree", Holds("i-1", Revoked(cause, time.Minute)), nil, gone(cause)},
			{string(cause) + ", the tag behind", Holds("i-1", Revoked(cause, time.Minute), numbered(3, 0)), nil, gone(cause)},
			{string(cause) + ", no tag", Holds("i-1", Revoked(cause, time.Minute), tagSays("")), nil, gone(cause)},
			{string(cause) + ", the record behind", Holds("i-1", Revoked(cause, time.Minute), ahead), nil, noteTag},
			{string(cause) + ", the record behind, and noted", Holds("i-1", Revoked(cause, time.Minute), ahead, WithLease(func(l *lease.Lease) { l.TagNumber = 7 })), nil, report},
			{string(cause) + ", revoked again by an operator", Holds("i-1", Revoked(cause, time.Minute), ahead, numbered(8, 0)), nil, gone(cause)},
		})
	}
	check(t, []spec{
		{"lost, and the record behind", Holds("i-1", Due, ahead), nil, Ruling{Action: plan.ActRaise}},
		{"term, and the tag was taken off since", Holds("i-1", Over(time.Hour), Revoked(lease.CauseExpired, time.Minute), tagSays("")), nil, Ruling{Action: plan.ActStuck}},
		{"term, and both passed", Holds("i-1", Over(time.Hour), Revoked(lease.CauseExpired, time.Minute)), nil, gone(lease.CauseExpired)},
		{"failed creation, as agreed", Holds("i-1", Revoked(lease.CauseFailedCreation, time.Minute)), nil, gone(lease.CauseFailedCreation)},
		{"failed creation, and leased by its tag", Holds("i-1", Revoked(lease.CauseFailedCreation, time.Minute), leasedAs("launch-of-i-1.1")), nil, Ruling{Action: plan.ActStuck}},
		{"failed creation, and a tag of another's lease", Holds("i-1", Revoked(lease.CauseFailedCreation, time.Minute), leasedAs("x.1")), nil, gone(lease.CauseFailedCreation)},
	})
}

func TestAnInstanceLeasedByItsTagIsNoOrphan(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]plan.Action{"": plan.ActOrphan, "web.2": plan.ActOrphan, "i-other": plan.ActOrphan, "web.1": plan.ActReport, "i-left": plan.ActReport} {
		v := WorldOf(Holds("i-left", BornOf("web"), leasedAs(value)))
		Launches(Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "i-left")))(&v)
		got, verdict := RulingOn(t, v, "i-left")
		if got.Action != want {
			t.Errorf("leased as %q: %s (%s), want %s", value, got.Action, verdict.Reason, want)
		}
		if held := HeldBy(Decide(v), lease.BrakeRollback, ""); held != (want == plan.ActReport) {
			t.Errorf("leased as %q: everything held back: %t", value, held)
		}
	}
}

func TestAnInstanceExtendedByItsTagIsNoOrphan(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]plan.Action{
		"2026-03-01T11:00:00Z": plan.ActOrphan, "none": plan.ActOrphan, "x": plan.ActOrphan,
		"2026-03-01T11:00:00Z 2": plan.ActReport, "none 9": plan.ActReport,
	} {
		v := WorldOf(Holds("i-left", BornOf("web"), tagSays(value)))
		Launches(Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "i-left")))(&v)
		if got, verdict := RulingOn(t, v, "i-left"); got.Action != want {
			t.Errorf("its tag says %q: %s (%s), want %s", value, got.Action, verdict.Reason, want)
		}
	}
}

// An orphan's record would have the date of its launch. One that is behind its tag ends nothing, so it is not made either.
func TestAnInstanceWithALaterDateSetByHandIsNoOrphan(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]plan.Action{
		"": plan.ActOrphan, "2026-03-01T11:59:00Z": plan.ActOrphan, "2026-03-01T12:30:00Z": plan.ActOrphan, "tomorrow": plan.ActOrphan,
		"2026-03-01T12:30:01Z": plan.ActReport, "none": plan.ActReport,
	} {
		v := WorldOf(Holds("i-left", BornOf("web"), tagSays(value)))
		l := Launch("web", lease.LaunchClosed, FirstSeen(time.Hour, "i-left"))
		l.Term = lease.Duration(90 * time.Minute)
		Launches(l)(&v)
		if got, verdict := RulingOn(t, v, "i-left"); got.Action != want {
			t.Errorf("its tag says %q: %s (%s), want %s", value, got.Action, verdict.Reason, want)
		}
	}
}

func TestTagsRevealARollback(t *testing.T) {
	t.Parallel()
	behind := tagAt(-time.Hour, 2)
	raisedAgo := func(d time.Duration) func(*Subject) {
		return WithLease(func(l *lease.Lease) {
			l.CuredAt = Ago(d)
			l.History = append(l.History, lease.Transition{Time: Ago(d), Action: lease.ActionRaise})
		})
	}
	released := func(d time.Duration, count int) func(*World) {
		return func(v *World) {
			v.Snapshot.Registry.Resumed = []lease.Resumption{{Brake: lease.Brake{Name: lease.BrakeRollback, Count: count}, At: Ago(d)}}
		}
	}
	none := func(*World) {}
	for name, c := range map[string]struct {
		subjects []Subject
		change   func(*World)
		held     bool
	}{
		"two behind":                               {append(Many(2, "a", behind), Many(8, "b")...), none, false},
		"three behind":                             {append(Many(3, "a", behind), Many(8, "b")...), none, true},
		"three raised within the hour":             {append(Many(3, "a", raisedAgo(59*time.Minute)), Many(8, "b")...), none, true},
		"three raised before that":                 {append(Many(3, "a", raisedAgo(time.Hour)), Many(8, "b")...), none, false},
		"three raised before a person checked":     {append(Many(3, "a", raisedAgo(30*time.Minute)), Many(8, "b")...), released(time.Minute, 0), false},
		"three raised after a person checked":      {append(Many(3, "a", raisedAgo(30*time.Minute)), Many(8, "b")...), released(40*time.Minute, 0), true},
		"five of a hundred":                        {append(Many(5, "a", behind), Many(95, "b")...), none, false},
		"six of a hundred":                         {append(Many(6, "a", behind), Many(94, "b")...), none, true},
		"behind, and not ours":                     {append(Many(9, "a", behind, Foreign), Many(8, "b")...), none, false},
		"leased, and no record":                    {[]Subject{Holds("i-x", BornOf("web"), leasedAs("web.1"))}, none, true},
		"leased, no record, and a person checked":  {[]Subject{Holds("i-x", BornOf("web"), leasedAs("web.1"))}, released(time.Hour, 1), false},
		"one more than a person checked":           {[]Subject{Holds("i-x", BornOf("web"), leasedAs("web.1")), Holds("i-y", BornOf("web"), leasedAs("web.1"))}, released(time.Hour, 1), true},
		"leased by a copied tag, and no record":    {[]Subject{Holds("i-x", BornOf("web"), leasedAs("other.1"))}, none, false},
		"leased, of another registry":              {[]Subject{Holds("i-x", BornOf("web"), leasedAs("web.1"), Foreign)}, none, false},
		"leased, no record, terminated in between": {[]Subject{Holds("i-x", BornOf("web"), leasedAs("web.1"), Is(lease.InstanceTerminated))}, none, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(c.subjects...)
			c.change(&v)
			planned := Decide(v)
			if HeldBy(planned, lease.BrakeRollback, "") != c.held {
				t.Errorf("brakes %+v, want everything held back: %t", planned.Brakes, c.held)
			}
			if n := len(planned.With(plan.ActRaise)); name == "three behind" && n != 3 {
				t.Error("no record is raised while the brake is held")
			}
		})
	}
}

func TestTagsToWrite(t *testing.T) {
	t.Parallel()
	none := func(*World) {}
	observing := func(v *World) { v.Snapshot.Registry.Mode = lease.ModeObserve }
	paused := func(v *World) { v.Snapshot.Registry.Mode = lease.ModePaused }
	setBack := func(v *World) { v.Standing = []lease.Brake{{Name: lease.BrakeRollback}} }
	tomorrow := lease.Expiry{At: In(24 * time.Hour), Number: 3}.String()
	for name, c := range map[string]struct {
		subject Subject
		change  func(*World)
		want    string // key and value
	}{
		"the keys agree": {Holds("i-1"), none, ""},
		"behind":         {Holds("i-1", numbered(3, 0), tagAt(-time.Hour, 2)), none, "lapse:expires=" + tomorrow},
		"none yet":       {Holds("i-1", numbered(3, 0), tagSays("")), none, "lapse:expires=" + tomorrow},
		"behind, and written since": {Holds("i-1", numbered(3, 0), tagAt(-time.Hour, 2)), func(v *World) {
			v.Written = map[string]plan.Written{"i-1": {Expires: lease.Expiry{At: In(24 * time.Hour), Number: 3}}}
		}, ""},
		"behind, paused":                        {Holds("i-1", numbered(3, 0), tagAt(-time.Hour, 2)), paused, "lapse:expires=" + tomorrow},
		"behind, observing":                     {Holds("i-1", numbered(3, 0), tagAt(-time.Hour, 2)), observing, ""},
		"behind, set back":                      {Holds("i-1", numbered(3, 0), tagAt(-time.Hour, 2)), setBack, "lapse:expires=" + tomorrow},
		"shortened":                             {Holds("i-1", numbered(3, 3), tagAt(-48*time.Hour, 2)), none, "lapse:expires=" + tomorrow},
		"shortened, set back":                   {Holds("i-1", numbered(3, 3), tagAt(-48*time.Hour, 2)), setBack, ""},
		"earlier, and nobody shortened":         {Holds("i-1", numbered(3, 0), tagAt(-48*time.Hour, 2)), none, ""},
		"the record behind":                     {Holds("i-1", tagAt(-48*time.Hour, 2)), none, ""},
		"foreign":                               {Holds("i-1", numbered(3, 0), tagSays(""), Foreign), none, ""},
		"not bound":                             {Holds("i-1", numbered(3, 0), tagSays(""), Unbound), none, ""},
		"revoked":                               {Holds("i-1", numbered(3, 0), tagSays(""), Revoked(lease.CauseRelease, time.Minute)), none, ""},
		"over, and it is not on record yet":     {Holds("i-1", Over(time.Minute), tagSays("")), none, ""},
		"over, and on record as kept":           {Holds("i-1", Over(time.Minute), tagSays(""), keptBy(lease.KeptByTag, time.Second)), none, "lapse:expires=2026-03-01T11:59:00Z"},
		"not said to be leased":                 {Holds("i-1", leasedAs("")), none, "lapse:leased=launch-of-i-1.1"},
		"not said to be leased, adopted":        {Holds("i-1", leasedAs(""), WithLease(func(l *lease.Lease) { l.ClientToken, l.Launch = "", "" })), none, "lapse:leased=i-1"},
		"not said to be leased, and pending":    {Holds("i-1", leasedAs(""), Is(lease.InstancePending)), none, ""},
		"said to be leased by another":          {Holds("i-1", leasedAs("i-0")), none, "lapse:leased=launch-of-i-1.1"},
		"a failed creation is never leased":     {Holds("i-1", leasedAs(""), Revoked(lease.CauseFailedCreation, time.Minute)), none, ""},
		"an adoption whose tag is not seen yet": {Holds("i-1", leasedAs(""), Foreign, WithLease(func(l *lease.Lease) { l.State = lease.StateAdopting })), none, ""},
		"no record, and a member of an attempt": {Holds("i-1", Bare, leasedAs("")), none, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := WorldOf(c.subject)
			c.change(&v)
			got := ""
			for _, w := range Decide(v).Tags {
				got += w.Key + "=" + w.Value
			}
			if got != c.want {
				t.Errorf("wrote %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheTagThatExpiresFirstIsWrittenFirst(t *testing.T) {
	t.Parallel()
	at := func(id string, record, tag time.Duration) Subject {
		return Holds(id, Over(-record), numbered(3, 0), tagAt(-tag, 2))
	}
	v := WorldOf(at("i-3", 9*time.Hour, 5*time.Hour), at("i-1", 8*time.Hour, time.Hour), Holds("i-4", leasedAs("")), at("i-2", 2*time.Hour, time.Hour+time.Minute))
	var got string
	for _, w := range Decide(v).Tags {
		got += w.InstanceID + " "
	}
	if want := "i-1 i-2 i-3 i-4 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheKillFunctionAsksBothKeysOfAFreshDescription(t *testing.T) {
	t.Parallel()
	p := plan.DefaultPolicy()
	verdict := func(cause lease.Cause, s Subject) plan.Verdict {
		v := WorldOf(s)
		return plan.Verdict{Cause: cause, Lease: &v.Snapshot.Leases[0], Instance: &v.Locations[0].Instances[0]}
	}
	for name, c := range map[string]struct {
		v     plan.Verdict
		spare bool
	}{
		"both passed":                       {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute))), false},
		"the tag later":                     {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute), tagAt(-time.Hour, 1))), true},
		"the tag gone":                      {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute), tagSays(""))), true},
		"the tag's number higher":           {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute), tagAt(time.Hour, 2))), true},
		"a retry, the tag gone":             {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute), Revoked(lease.CauseExpired, time.Second), tagSays(""))), true},
		"a retry, both passed":              {verdict(lease.CauseExpired, Holds("i-1", Over(time.Minute), Revoked(lease.CauseExpired, time.Second))), false},
		"released":                          {verdict(lease.CauseRelease, Holds("i-1", Revoked(lease.CauseRelease, time.Second))), false},
		"released, the record behind":       {verdict(lease.CauseRelease, Holds("i-1", Revoked(lease.CauseRelease, time.Second), tagAt(-72*time.Hour, 2))), true},
		"failed creation":                   {verdict(lease.CauseFailedCreation, Holds("i-1", Revoked(lease.CauseFailedCreation, time.Second))), false},
		"failed creation, leased by itself": {verdict(lease.CauseFailedCreation, Holds("i-1", Revoked(lease.CauseFailedCreation, time.Second), leasedAs("i-1"))), true},
	} {
		if why := c.v.Outdated(c.v.Instance, Noon, p); (why != "") != c.spare {
			t.Errorf("%s: %q, want spared: %t", name, why, c.spare)
		}
	}
}

func TestRecordsThatWereRaisedInNumberAloneCountForTheBrakeToo(t *testing.T) {
	t.Parallel()
	for raised, stands := range map[int]bool{2: false, 3: true} {
		var subjects []Subject
		for n := range 5 {
			s := Holds("i-" + strconv.Itoa(n))
			if n < raised { // the registry has lost an extension and a shortening to an earlier date
				l, err := s.Lease.Raise(Ago(time.Minute), lease.Expiry{At: s.Lease.ExpiresAt.Add(-time.Hour), Number: 3}, Jan)
				if err != nil || l.ExpiresNumber != 4 {
					t.Fatal(l.ExpiresNumber, err)
				}
				*s.Lease = l
				tagSays(l.Expiry().String())(&s)
			}
			subjects = append(subjects, s)
		}
		held := plan.Standing(Decide(WorldOf(subjects...)).Brakes)
		if got := len(held) > 0; got != stands {
			t.Errorf("%d raised within a minute: %v engaged", raised, held)
		}
	}
}
